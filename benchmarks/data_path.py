"""The way of the data into a step of training, on scenes of noise: python -m benchmarks.data_path.

Drawing a batch: how long the host is busy with it, how long a device that has nothing else to do,
and what is copied there. A step: with its batch drawn beside the step before, and with batches that
were drawn long ago; the difference is what the device waits for data. The data set is on the
device, and then in pinned host memory.
"""

import itertools
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import torch
import typer

from benchmarks.cost import Cost, Work, step_cost
from benchmarks.report import (
    NONE,
    RATE_HEAD,
    Timing,
    headline,
    rate_cells,
    table,
    time_cells,
    time_each,
    wait_for,
)
from benchmarks.train_step import (
    CHANNELS,
    PATCH_PX,
    StepCase,
    noise_scene,
    published_model,
    published_training,
)
from gsn.model.scene import Scene
from gsn.training.batch_queue import BatchQueue
from gsn.training.batches import Batch, BatchConfig, draw_batch
from gsn.training.generators import Generators
from gsn.training.loop import Trainer
from gsn.training.origin import Origin
from gsn.training.residence import Residence, stored_bytes
from pipeline.command import DeviceName
from pipeline.device import pick_device

ROUNDS = 3  # of steps with and without drawing in turn, so that no drift favours one of them
N_REUSED = 8  # batches, since no two are equally quick
FILLER = 4096  # side of the matrices that keep a device busy while the host queues a batch
HEAD = ("what", "ms", "10-90 %", *RATE_HEAD, "MB copied", "of it waiting")
Row = list[str]


class Reused(BatchQueue):
    """Gives batches of long ago, one after the other, again and again."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = itertools.cycle(batches)

    def take(self) -> Batch:
        """Return the next one; nothing is drawn."""
        return next(self._batches)

    def draw_ahead(self) -> None:
        """Draw nothing."""


def cases(
    sizes: Work, rays: list[int], n_scenes: int, n_views: int, device: torch.device
) -> Iterator[StepCase]:
    """Make both stages with so many rays, from scenes on the device and on the host.

    Args:
        sizes: Source views and photographs of a step.
        rays: Of a step.
        n_scenes: In the data set.
        n_views: Of a scene.
        device: Where the steps are computed; on a CPU all data are there.
    """
    maps = (CHANNELS, sizes.height // PATCH_PX, sizes.width // PATCH_PX)
    places = {"on the device": None, "pinned": 0} if device.type == "cuda" else {"on the CPU": None}
    for stage, teacher in (("stage I", None), ("stage II", maps)):
        work = replace(sizes, teacher=teacher)
        loaded = [noise_scene(k, n_views, work, torch.device("cpu")) for k in range(n_scenes)]
        for place, limit_bytes in places.items():
            residence = Residence(device, limit_bytes)
            scenes = [residence.place(scene) for scene in loaded]
            for n_rays in rays:
                of_rays = replace(work, rays=n_rays)
                name = f"{stage}, {n_rays} rays, {place}"
                training = published_training(of_rays)
                yield StepCase(name, published_model(parity=False), training, scenes, of_rays)


def copied_bytes(scene: Scene, config: BatchConfig) -> int:
    """Return what a step copies from host to device: indices, and views that are not there."""
    if scene.device.type != "cuda":
        return 0
    n_views = config.source_views + 1  # and the target
    per_view = stored_bytes(scene) // len(scene.images)
    return n_views * (8 + (per_view if scene.images.device != scene.device else 0))


def time_drawing(case: StepCase, repeats: int) -> tuple[Timing, Timing | None]:
    """Time the drawing of batches on the host, and on a GPU that has nothing else to do."""
    device, model = case.scenes[0].device, case.build_model()
    generators = Generators.seeded(0, device)
    host, on_device = [], []
    filler = torch.ones(FILLER, FILLER, device=device) if device.type == "cuda" else None
    for k in range(repeats + 1):
        marks = []
        if filler is not None:
            for _ in range(4):  # so that the launches lie ready when the device comes to them
                filler = (filler @ filler).clamp(max=1)
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            marks[0].record()
        started = time.perf_counter()
        draw_batch(case.scenes, model, case.training.batch, generators)
        taken = time.perf_counter() - started
        if marks:
            marks[1].record()
        wait_for(device)
        if k:  # the first one is warm-up
            host.append(taken)
            on_device += [marks[0].elapsed_time(marks[1]) / 1000] if marks else []
    return Timing(host, None, None), Timing(on_device, None, None) if on_device else None


def time_steps(case: StepCase, warm_up: int, steps: int) -> tuple[Timing | None, Timing | None]:
    """Time steps that draw their batches, and equal ones that need not."""
    device, model = case.scenes[0].device, case.build_model()
    trainer = Trainer(model, case.scenes, case.training, Origin(""))
    drawing = trainer.batches
    reused = Reused([drawing.take() for _ in range(N_REUSED)])
    found: dict[BatchQueue, list[float]] = {drawing: [], reused: []}
    for _, queue in itertools.product(range(ROUNDS), found):
        trainer.batches = queue
        timing = time_each(trainer.take_step, device, warm_up, steps)
        if timing is None:
            return None, None
        found[queue] += timing.seconds
    return Timing(found[drawing], None, None), Timing(found[reused], None, None)


def rows_of(case: StepCase, warm_up: int, steps: int) -> list[Row]:
    """Measure one case; the cells are those below `HEAD`. Drawing has no products: it copies."""
    host, on_device = time_drawing(case, steps)
    with_drawing, without = time_steps(case, warm_up, steps)
    n_bytes = copied_bytes(case.scenes[0], case.training.batch)
    copied = f"{n_bytes / 1e6:.4f}"
    waiting = NONE
    if with_drawing is not None and without is not None:
        waiting = f"{1 - without.median / with_drawing.median:.1%}"
    step, drawing = step_cost(case.model, case.work), Cost(0.0, n_bytes)
    device = case.scenes[0].device
    return [
        [f"{case.name}: draw, host", *_speed(host, drawing, device), copied, NONE],
        [f"{case.name}: draw, device", *_speed(on_device, drawing, device), copied, NONE],
        [f"{case.name}: step", *_speed(with_drawing, step, device), copied, waiting],
        [f"{case.name}: step, drawn before", *_speed(without, step, device), NONE, NONE],
    ]


def _speed(timing: Timing | None, cost: Cost, device: torch.device) -> Row:
    if timing is None:
        return [NONE] * (2 + len(RATE_HEAD))
    return [*time_cells(timing, digits=3), *rate_cells(cost, timing, device)]


def main(
    rays: Annotated[list[int] | None, typer.Option(min=1, help="Of a step; 512 and 4096.")] = None,
    views: Annotated[int, typer.Option(min=1, help="Source views.")] = 10,
    height: Annotated[int, typer.Option(min=1, help="Of the photographs, in pixels.")] = 378,
    width: Annotated[int, typer.Option(min=1, help="Of the photographs, in pixels.")] = 504,
    scenes: Annotated[int, typer.Option(min=1, help="In the data set.")] = 4,
    scene_views: Annotated[int, typer.Option(min=1, help="Of a scene.")] = 24,
    warm_up: Annotated[int, typer.Option(min=0, help="Steps that are not counted.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Timed, and steps thrice.")] = 30,
    device: DeviceName = "auto",
) -> None:
    """Print one table."""
    logging.basicConfig(level=logging.WARNING)
    if scene_views <= views:
        raise typer.BadParameter(
            f"{scene_views}: expected more than the {views} source views",
            param_hint="--scene-views",
        )
    place = pick_device(device)
    sizes = Work(0, views, height, width)
    rows = [
        row
        for case in cases(sizes, rays or [512, 4096], scenes, scene_views, place)
        for row in rows_of(case, warm_up, steps)
    ]
    typer.echo(f"{headline(place)}\n")
    typer.echo(
        f"published network, {views} views of {height} × {width}, {scenes} scenes of {scene_views} "
        f"views, {steps} batches, {ROUNDS} × {steps} steps\n"
    )
    typer.echo(table(HEAD, rows))


if __name__ == "__main__":
    typer.run(main)
