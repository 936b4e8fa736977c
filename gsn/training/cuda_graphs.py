"""CUDA graphs: work that the host queues once and the device repeats at a single command.

A step of training is thousands of small kernels, which the host queues more slowly than a large GPU
computes them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Numbers = dict[str, Tensor]
Work = Callable[[], Numbers]


class CudaGraphs:
    """Records work on a stream of its own; all graphs share one pool of memory.

    They may, since they run one after the other on that stream, and since what one of them computed
    is copied out before the next one runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Queue work on the stream of the graphs: after all queued before, before all queued later.

        Work that is to be recorded must have run here before. Autograd adds up the gradient of a
        weight on the stream where the weight was first used; on another one than that of the
        recording, the recording fails. Besides, libraries get their workspaces stream by stream.
        """
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        """Record work, which does not run yet, and return what runs it and copies out its results.

        The work must read its inputs from tensors that stay where they are. Of the random numbers
        it draws, each run takes the next ones of the generator, as if it had not been recorded.

        Raises:
            RuntimeError: The work cannot be recorded: it waits for the device, for one thing.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            results = work()

        def replay() -> Numbers:
            graph.replay()
            return {name: value.clone() for name, value in results.items()}

        return replay

    def forget(self) -> None:
        """Begin another pool; called when all recordings were dropped, and with them the old one.

        The allocator may still be about to free that one, and then refuses further graphs in it.
        """
        self._pool = torch.cuda.graph_pool_handle()
