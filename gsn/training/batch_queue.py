"""The batches of a run, each drawn while the device computes the step before."""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from gsn.model.network import GsnModel
from gsn.model.scene import Scene
from gsn.training.batches import Batch, BatchConfig, draw_batch
from gsn.training.generators import Generators

STEPS_AHEAD = 2  # that the host may queue beyond the one computed: each holds its batch in memory


@dataclass(frozen=True)
class _Drawn:
    """A batch that no step has taken yet."""

    batch: Batch
    state_before: dict[str, Tensor]  # of the generators
    ready: torch.cuda.Event | None


class BatchQueue:
    """Draws on a stream of its own, at most one batch ahead; a function of its random states.

    On the CPU it merely draws.
    """

    def __init__(
        self, scenes: list[Scene], model: GsnModel, config: BatchConfig, generators: Generators
    ) -> None:
        self._scenes, self._model, self._config = scenes, model, config
        self._generators = generators
        self._ahead: _Drawn | None = None
        self._queued: deque[torch.cuda.Event] = deque()
        self._device = scenes[0].device
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            # First in turn: many small kernels beside the large ones of a step.
            self._stream = torch.cuda.Stream(self._device, priority=-1)  # type: ignore[no-untyped-call]
            # The scenes may still be on their way.
            self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def take(self) -> Batch:
        """Return the next batch, for work that the current stream is given from now on."""
        drawn = self._ahead or self._draw()
        self._ahead = None
        if drawn.ready is not None:
            current = torch.cuda.current_stream(self._device)
            self._slow_down(current)
            current.wait_event(drawn.ready)
            for tensor in drawn.batch.tensors:
                # Its memory came from the other stream, which must not use it again too early.
                tensor.record_stream(current)
        return drawn.batch

    def draw_ahead(self) -> None:
        """Draw the next batch now; called once the work of a step is queued."""
        if self._ahead is None:
            self._ahead = self._draw()

    def state(self) -> dict[str, Tensor]:
        """Return the random states that the next batch taken is drawn with, drawn or not."""
        return self._ahead.state_before if self._ahead else self._generators.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        self._ahead = None
        self._generators.restore(state)

    def _draw(self) -> _Drawn:
        state = self._generators.state()
        arguments = self._scenes, self._model, self._config, self._generators
        if self._stream is None:
            return _Drawn(draw_batch(*arguments), state, None)
        with torch.cuda.stream(self._stream):
            batch = draw_batch(*arguments)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(self._stream)
        return _Drawn(batch, state, ready)

    def _slow_down(self, current: torch.cuda.Stream) -> None:
        """Let the host wait where it is too far ahead; the device has work all the while."""
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record(current)
        self._queued.append(done)
        if len(self._queued) > STEPS_AHEAD:
            self._queued.popleft().synchronize()
