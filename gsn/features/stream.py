"""Photographs in batches to a device, maps back to the host: threads read ahead and write behind.

    with ahead(batched(photographs, batch_size, pin)) as batches, Behind(n_threads) as behind:
        for batch in batches:
            maps = ...batch.images.to(device, non_blocking=True)...
            behind.submit(write, batch.items, unload(maps))

All queues are bounded, so memory does not grow with the number of photographs. An error in any
thread surfaces in the loop or at its end, and no thread outlives the `with`.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Item = TypeVar("Item")
ByteArray = npt.NDArray[np.uint8]
HalfArray = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """Photographs of one size."""

    items: list[Item]  # what they are
    images: Tensor  # (B, H, W, 3) uint8; B may be more than there are items: repeats of the last


def batched(
    photographs: Iterable[tuple[Item, ByteArray]],  # (H, W, 3) each
    batch_size: Callable[[int, int], int],
    *,
    pin: bool,
) -> Generator[Batch[Item], None, None]:
    """Join consecutive photographs of one size; short batches are filled up with the last one.

    So every batch of a size has one shape, and what a network makes of a photograph does not depend
    on how many others are at hand.

    Args:
        photographs: Drawn one at a time.
        batch_size: From H and W.
        pin: Whether the batch shall lie in page-locked memory, which CUDA copies from by itself.
    """
    items: list[Item] = []
    images = torch.empty(0)
    for item, image in photographs:
        if items and images.shape[1:] != image.shape:
            yield _filled(items, images)
            items = []
        if not items:
            n_images = batch_size(image.shape[0], image.shape[1])
            images = torch.empty((n_images, *image.shape), dtype=torch.uint8, pin_memory=pin)
        images[len(items)] = torch.from_numpy(image)
        items.append(item)
        if len(items) == len(images):
            yield Batch(items, images)
            items = []
    if items:
        yield _filled(items, images)


def _filled(items: list[Item], images: Tensor) -> Batch[Item]:
    images[len(items) :] = images[len(items) - 1]
    return Batch(items, images)


@contextmanager
def ahead(items: Generator[Item, None, None], depth: int = 2) -> Iterator[Iterator[Item]]:
    """Draw from a generator in a thread, at most `depth` items ahead of what is asked for.

    An error of the generator comes where its next item would have come.
    """
    drawn: queue.SimpleQueue[tuple[Item] | BaseException | None] = queue.SimpleQueue()
    room = threading.Semaphore(depth)
    stopped = threading.Event()

    def draw() -> None:
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    break
                drawn.put((item,))
            items.close()  # in the thread it ran in: it may hold files open
            drawn.put(None)
        except BaseException as error:  # told where the item would have come
            drawn.put(error)

    def arrivals() -> Iterator[Item]:
        while (found := drawn.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            room.release()
            yield found[0]
            del found  # else it lives on while the next one is waited for

    thread = threading.Thread(target=draw, name="ahead", daemon=True)
    thread.start()
    try:
        yield arrivals()
    finally:
        stopped.set()
        room.release()
        thread.join()


class Behind:
    """Threads that work off tasks; `submit` waits while too many are left."""

    def __init__(self, n_threads: int, depth: int = 2) -> None:
        """Start nothing yet.

        Args:
            n_threads: Tasks at work at once.
            depth: Tasks that may wait beside these.
        """
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="behind")
        self._room = threading.Semaphore(n_threads + depth)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def submit(self, work: Callable[..., None], *arguments: object) -> None:
        """Have a thread call `work`; raise the error of an earlier task if there was one."""
        self._room.acquire()
        if self._error is not None:
            raise self._error
        self._pool.submit(work, *arguments).add_done_callback(self._done)

    def _done(self, task: Future[None]) -> None:
        if not task.cancelled() and self._error is None:
            self._error = task.exception()
        self._room.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failed = error is not None or self._error is not None
        self._pool.shutdown(wait=True, cancel_futures=failed)
        if error is None and self._error is not None:
            raise self._error


def side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream to copy on while the device computes; None if it is no CUDA device."""
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class HostMaps:
    """Maps on their way from a device to the host."""

    def __init__(self, maps: Tensor, stream: torch.cuda.Stream | None) -> None:
        """Start the copy.

        Args:
            maps: (n, h, w, C) float16.
            stream: From `side_stream`.
        """
        finite = torch.isfinite(maps).flatten(1).all(dim=1)  # numpy takes as long as the disk
        self._ready: torch.cuda.Event | None = None
        if stream is None:
            self._maps, self._finite = maps, finite
            return
        stream.wait_stream(torch.cuda.current_stream(maps.device))
        with torch.cuda.stream(stream):
            self._maps, self._finite = (_to_pinned(part, stream) for part in (maps, finite))
        self._ready = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._ready.record(stream)

    def arrived(self) -> tuple[HalfArray, list[bool]]:  # (n, h, w, C), n
        """Wait for the copy; return the maps, and whether all values of each are finite."""
        if self._ready is not None:
            self._ready.synchronize()
        return self._maps.numpy(), self._finite.tolist()


def _to_pinned(part: Tensor, stream: torch.cuda.Stream) -> Tensor:
    part.record_stream(stream)
    pinned = torch.empty(part.shape, dtype=part.dtype, pin_memory=True)
    return pinned.copy_(part, non_blocking=True)
