"""Photographs joined to batches of one size, so that the network sees few shapes."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from gsn.captures.capture import ByteArray

# On CUDA: 16 photographs of 378 × 504, enough to keep an H100 busy with a ViT-S.
BATCH_PX = 16 * 378 * 504
MAX_BATCH = 32  # of small photographs, since a batch is always filled up
Item = TypeVar("Item")


def batch_size(height: int, width: int, device: torch.device) -> int:
    """How many photographs of a size pass the network at once: always as many.

    One on the CPU, where more bring no speed.
    """
    if device.type != "cuda":
        return 1
    return min(MAX_BATCH, max(1, BATCH_PX // (height * width)))


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
