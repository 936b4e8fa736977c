"""A step of training, on scenes of noise: python -m benchmarks.train_step.

The published network and batch, or with `--default-run` those of the settings file. Drawing the
batch, encoder, renderer, loss, backward pass and Adam are in the time. TFLOP/s count every product
once (`benchmarks.cost`); the floor is the time of an H100 that does nothing but these products, and
those which a fused backward pass has to repeat.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.nn import functional

from benchmarks.cost import Work, step_cost
from benchmarks.report import PATH_HEAD, Timing, headline, path_row, table, time_each, which_paths
from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.model.network import GsnModel, ModelConfig
from gsn.model.scene import Scene
from gsn.model.sources import TeacherMaps
from gsn.teachers.teacher import TeacherConfig
from gsn.training.batches import BatchConfig
from gsn.training.config import TrainingConfig
from gsn.training.loop import Trainer
from gsn.training.losses import LossConfig
from gsn.training.optimiser import OptimiserConfig
from gsn.training.origin import Origin
from pipeline.command import DEFAULT_PARAMS, DeviceName, ParamsFile
from pipeline.config import load_section
from pipeline.device import pick_device
from pipeline.distill import DistillConfig
from pipeline.fetch import FetchConfig
from pipeline.pretrain import PretrainConfig
from pipeline.reduce import ReduceConfig

CHANNELS = 64  # of the teacher's maps
PATCH_PX = 8
N_SCENES = 2
COARSE_PX = 12  # from one grid point of the noise to the next
NEAR, FAR, FOCUS = 4 / 3, 12.0, 4.0  # depths; all cameras look at one point
ARC = 0.5  # radians from the first camera to the last, seen from there
Row = list[str]


@dataclass(frozen=True)
class StepCase:
    """One kind of step."""

    name: str
    model: ModelConfig
    training: TrainingConfig
    scenes: list[Scene]
    work: Work

    def build_model(self) -> GsnModel:
        """Return a fresh model on the device of the scenes."""
        torch.manual_seed(0)
        return GsnModel(self.model, channels_of(self.work)).to(self.scenes[0].device)


def channels_of(work: Work) -> int | None:
    """Return those of the teacher's maps, if there are any."""
    return work.teacher[0] if work.teacher else None


def noise_scene(
    seed: int, n_views: int, work: Work, device: torch.device, held_out: int | None = None
) -> Scene:
    """Make a scene of smooth noise that cameras on an arc look at; `work` has its sizes."""
    draw = torch.Generator().manual_seed(seed)
    height, width = work.height, work.width
    coarse = torch.rand(
        (n_views, 3, 2 + height // COARSE_PX, 2 + width // COARSE_PX), generator=draw
    )
    photos = 255 * functional.interpolate(coarse, (height, width), mode="bilinear")
    angles = torch.linspace(-ARC / 2, ARC / 2, n_views).tolist()
    poses = [_look_at_focus(angle, 0.1 * (-1) ** k) for k, angle in enumerate(angles)]
    plane = torch.tensor([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1]])
    cameras = Cameras(plane.repeat(n_views, 1, 1), torch.stack(poses), height, width)
    teacher = None
    if work.teacher is not None:
        values = torch.randn((n_views, *work.teacher), generator=draw).half()
        cell = (height / work.teacher[1], width / work.teacher[2])
        teacher = TeacherMaps(values.to(device), CellGrid.of_patches(cell))
    return Scene(
        name=f"noise_{seed}",
        view_names=tuple(f"view_{k}" for k in range(n_views)),
        held_out=torch.arange(n_views) == (-1 if held_out is None else held_out),
        cameras=cameras.to(device),
        images=photos.to(torch.uint8).to(device),
        near=torch.tensor(NEAR, device=device),
        far=torch.tensor(FAR, device=device),
        teacher=teacher,
    )


def _look_at_focus(angle: float, y: float) -> torch.Tensor:  # (4, 4)
    """Return a camera on a circle about the point at `FOCUS` on the z axis, and off its plane."""
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = math.cos(angle)
    pose[0, 2], pose[2, 0] = -math.sin(angle), math.sin(angle)
    pose[:3, 3] = torch.tensor([FOCUS * math.sin(angle), y, FOCUS * (1 - math.cos(angle))])
    return pose


def published_model(parity: bool) -> ModelConfig:
    """Return the sizes of the published network."""
    return ModelConfig(
        encoder_width=64,
        encoder_blocks=(3, 4, 6),
        encoder_channels=32,
        width=64,
        depth=4,
        heads=4,
        samples=192,
        inverse_depth=True,
        dropout=0.1,
        parity=parity,
    )


def published_training(work: Work) -> TrainingConfig:
    """Return the published batch and rates; every step has exactly as many source views."""
    rate = 1e-4  # so low that noise does not let the weights diverge
    return TrainingConfig(
        max_steps=10**6,
        seed=0,
        log_every=100,
        checkpoint_every=100,
        batch=BatchConfig(
            rays=work.rays,
            source_views=work.views,
            source_views_spread=0,
            neighbourhood_max=3 * work.views,
            target_among_sources=0.0,
        ),
        optimiser=OptimiserConfig(
            encoder_rate=rate,
            renderer_rate=rate,
            head_rate=rate,
            warmup_steps=0,
            decay_steps=10**6,
            decay_factor=0.5,
        ),
        loss=LossConfig(rgb_weight=1.0, feature_weight=0.1, feature_loss="cosine"),
    )


def published_cases(
    rays: list[int], sizes: Work, parity: bool, device: torch.device
) -> Iterator[StepCase]:
    """Make stage I and stage II with so many rays; `sizes` tells views and photographs."""
    for stage, work in stages(sizes):
        scenes = [noise_scene(seed, work.views + 2, work, device) for seed in range(N_SCENES)]
        for n_rays in rays:
            of_rays = replace(work, rays=n_rays)
            name = f"{stage}, {n_rays} rays"
            training = published_training(of_rays)
            yield StepCase(name, published_model(parity), training, scenes, of_rays)


def stages(sizes: Work) -> list[tuple[str, Work]]:
    """Return both stages by name; the second has teacher maps, of patches of the photographs."""
    maps = sizes.teacher or (CHANNELS, sizes.height // PATCH_PX, sizes.width // PATCH_PX)
    return [("stage I", replace(sizes, teacher=None)), ("stage II", replace(sizes, teacher=maps))]


def default_sizes(params: Path) -> Work:
    """Return the sizes of a run of the settings file on its synthetic captures."""
    synthetic = load_section(params, "fetch", FetchConfig).synthetic
    height, width = synthetic.height_px, synthetic.width_px
    long_side_px = load_section(params, "teacher", TeacherConfig).long_side_px
    scale = (long_side_px or max(height, width)) / max(height, width)
    cells = (int(scale * height) // PATCH_PX, int(scale * width) // PATCH_PX)
    batch = load_section(params, "pretrain", PretrainConfig).training.batch
    dims = load_section(params, "reduce", ReduceConfig).dims
    return Work(batch.rays, batch.source_views, height, width, (dims, *cells))


def default_cases(params: Path, device: torch.device) -> Iterator[StepCase]:
    """Make the steps of the settings file; the number of source views varies as it says."""
    first = load_section(params, "pretrain", PretrainConfig)
    second = load_section(params, "distill", DistillConfig)
    n_views = load_section(params, "fetch", FetchConfig).synthetic.n_views
    both = zip(stages(default_sizes(params)), (first.training, second.training), strict=True)
    for (stage, sizes), training in both:
        batch = training.batch
        work = replace(sizes, rays=batch.rays, views=batch.source_views)
        scenes = [noise_scene(seed, n_views, work, device) for seed in range(N_SCENES)]
        yield StepCase(f"{stage}, {work.rays} rays", first.model, training, scenes, work)


def time_steps(
    case: StepCase, kernels: bool, device: torch.device, warm_up: int, steps: int
) -> Timing | None:
    """Time steps of a fresh model; None if the memory is too small."""
    model = case.build_model()
    model.use_kernels = kernels
    trainer = Trainer(model, case.scenes, case.training, Origin(""))
    return time_each(trainer.take_step, device, warm_up, steps)


def step_row(case: StepCase, kernels: bool, timing: Timing | None, device: torch.device) -> Row:
    """Return the cells below `PATH_HEAD`."""
    cost = step_cost(case.model, case.work)
    return path_row(case.name, kernels, timing, cost, case.work.rays, device, digits=2)


def main(
    rays: Annotated[list[int] | None, typer.Option(min=1, help="Of a step; 512 and 4096.")] = None,
    views: Annotated[int, typer.Option(min=1, help="Source views.")] = 10,
    height: Annotated[int, typer.Option(min=1, help="Of the photographs, in pixels.")] = 378,
    width: Annotated[int, typer.Option(min=1, help="Of the photographs, in pixels.")] = 504,
    parity: Annotated[bool, typer.Option(help="The network as published.")] = False,
    kernels: Annotated[bool | None, typer.Option(help="Both, if not told.")] = None,
    default_run: Annotated[bool, typer.Option(help="Sizes of the settings file.")] = False,
    params: ParamsFile = DEFAULT_PARAMS,
    warm_up: Annotated[int, typer.Option(min=0, help="Steps that are not counted.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 30,
    device: DeviceName = "auto",
) -> None:
    """Print one table."""
    logging.basicConfig(level=logging.WARNING)
    place = pick_device(device)
    sizes = default_sizes(params) if default_run else Work(0, views, height, width)
    cases = (
        default_cases(params, place)
        if default_run
        else published_cases(rays or [512, 4096], sizes, parity, place)
    )
    rows = [
        step_row(case, fast, time_steps(case, fast, place, warm_up, steps), place)
        for case in cases
        for fast in which_paths(kernels, case.model, channels_of(case.work), place)
    ]
    network = f"network of {params}" if default_run else f"published network, parity {parity}"
    typer.echo(f"{headline(place)}\n")
    typer.echo(f"{network}, {sizes.views} views of {sizes.height} × {sizes.width}, {steps} steps\n")
    typer.echo(table(PATH_HEAD, rows))


if __name__ == "__main__":
    typer.run(main)
