"""Steps of training that are recorded once for each shape of batch, and replayed from then on."""

import logging
import time
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from gsn.training.batches import Batch
from gsn.training.cuda_graphs import Numbers, Work

log = logging.getLogger(__name__)
# Of a shape, before its step is recorded. The first one compiles kernels and makes the running
# means of the optimiser, which must not lie in the memory of a graph.
EAGER_STEPS = 2
MOST_SHAPES = 64  # that are recorded; a step of any further one runs as it is


class Recorder(Protocol):
    """Where steps run and are recorded, see `gsn.training.cuda_graphs`."""

    def in_turn(self) -> AbstractContextManager[None]:
        """Run work after all work so far, and before all that comes."""

    def record(self, work: Work) -> Work:
        """Return what repeats some work."""

    def forget(self) -> None:
        """Make ready to record anew; called when all recordings were dropped."""


@dataclass
class _Shape:
    """A shape of batches."""

    batch: Batch  # in memory of its own, which stays where it is: batches are copied into it
    eager_steps: int = 0
    replay: Work | None = None


class CapturedSteps:
    """Takes steps: as they are first, then from a recording.

    Every step is a step of the run, also those that prepare a recording: nothing has to be undone.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, recorder: Recorder | None) -> None:
        """Prepare to take steps.

        Args:
            optimiser: Its gradients are dropped around a recording.
            recorder: None: record nothing.
        """
        self._optimiser = optimiser
        self._recorder = recorder
        self._shapes: dict[Hashable, _Shape] = {}
        self._most_shapes = MOST_SHAPES
        self.taken = self.replayed = 0  # numbers of steps

    def take(self, learn: Callable[[Batch], Numbers], batch: Batch) -> Numbers:
        """Take a step on a batch; return what `learn` does.

        Args:
            learn: Takes the step; always the same one, and on the device a function of the tensors
                of the batch, of random numbers, and of tensors that stay where they are.
            batch: What to learn.
        """
        self.taken += 1
        if self._recorder is None:
            return learn(batch)
        with self._recorder.in_turn():
            shape = self._shape_of(batch)
            if shape is None:
                return learn(batch)
            for place, values in zip(shape.batch.tensors, batch.tensors, strict=True):
                place.copy_(values)
            return self._take(partial(learn, shape.batch), shape)

    def forget(self) -> None:
        """Drop all recordings; called after tensors of the optimiser were exchanged for others."""
        self._shapes.clear()
        if self._recorder is not None:
            self._recorder.forget()

    def log_cost(self) -> None:
        """Tell what the steps that come first will take, if they are recorded."""
        if self._recorder is not None:
            log.info(
                "the first step compiles the kernels: about a minute, once on a machine; steps of "
                "each size of photographs and number of source views are recorded: half a second"
            )

    def log_summary(self) -> None:
        """Tell how many steps were replayed, if any were recorded."""
        n_graphs = sum(shape.replay is not None for shape in self._shapes.values())
        if n_graphs:
            counts = self.replayed, self.taken, n_graphs
            log.info("%d of %d steps were replayed; shapes of batches recorded: %d", *counts)

    def _shape_of(self, batch: Batch) -> _Shape | None:
        """Return what is known of batches like this one; None if no more shapes are taken in."""
        key = shape_key(batch)
        if key not in self._shapes:
            if len(self._shapes) >= self._most_shapes:
                if self._most_shapes == MOST_SHAPES:
                    log.warning("batches of more than %d shapes: others are slower", MOST_SHAPES)
                    self._most_shapes = 0  # told once
                return None
            self._shapes[key] = _Shape(batch.copied())
        return self._shapes[key]

    def _take(self, step: Work, shape: _Shape) -> Numbers:
        if shape.replay is None:
            if shape.eager_steps < EAGER_STEPS:
                shape.eager_steps += 1
                return step()
            shape.replay = self._record(step, shape)
        if shape.replay is None:
            return step()
        self.replayed += 1
        return shape.replay()

    def _record(self, step: Work, shape: _Shape) -> Work | None:
        """Record a step; return None, and give up recording, if that cannot be done."""
        assert self._recorder is not None
        start = time.perf_counter()
        # Gradients are made anew in the memory of the graphs. Afterwards nobody may read them:
        # the next graph writes there.
        self._optimiser.zero_grad(set_to_none=True)
        try:
            replay = self._recorder.record(step)
        except RuntimeError as error:
            # Shapes with a recording keep it; to others the run is what it was without.
            self._shapes = {k: kept for k, kept in self._shapes.items() if kept.replay is not None}
            self._most_shapes = 0
            log.warning("no step is recorded from here on, training is slower: %s", error)
            return None
        finally:
            self._optimiser.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - start
        log.debug("recorded a step of %s in %.2f s", _description(shape.batch), seconds)
        return replay


def shape_key(batch: Batch) -> Hashable:
    """Return all that a step on a batch depends on, less the numbers in its tensors."""
    tensors = tuple((tuple(values.shape), values.dtype) for values in batch.tensors)
    grid = batch.teacher and batch.teacher.grid
    size = batch.cameras.height, batch.cameras.width
    return tensors, size, grid, batch.feature is None


def _description(batch: Batch) -> str:
    views, cameras, (rays, samples) = len(batch.images), batch.cameras, batch.depths.shape
    maps = "teacher maps" if batch.teacher else "no teacher maps"
    return f"{views} views of {cameras.width}×{cameras.height} px, {rays}×{samples} samples, {maps}"
