"""Quality after so many seconds of stage I: python -m benchmarks.quality data/prepared.

Trains on the packs of `scenes.train` with the settings of `pretrain`, some of them replaced, and
renders the first held-out views of scenes at every second pixel from the nearest views that are not
held out. The clock runs while steps are taken, and only then; the first step, which compiles, is
before it.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.report import headline, kernels_run, table, wait_for
from gsn.evaluation.metrics.image_metrics import score_image
from gsn.evaluation.views.comparators import true_view
from gsn.evaluation.views.rendering import RenderConfig, SceneRenderer, pick_chunk_rays
from gsn.model.network import GsnModel
from gsn.model.scene import Scene, load_scene
from gsn.training.config import TrainingConfig
from gsn.training.loop import Trainer
from gsn.training.origin import Origin
from pipeline.command import DEFAULT_PARAMS, DeviceName, ParamsFile, PreparedFolder
from pipeline.config import ScenesConfig, load_section
from pipeline.device import pick_device
from pipeline.leakage import check_no_leakage
from pipeline.pretrain import PretrainConfig

N_HELD_OUT = 3  # views scored of each scene: the first ones
STRIDE = 2
SOURCE_VIEWS = 10
WAIT_EVERY = 50  # steps after which the host waits for the device, so that the clock is honest
HEAD = ("rays per step", "steps", "seconds", "rays/s")


@dataclass(frozen=True)
class Changes:
    """Values in place of those of the settings file; None leaves what it says."""

    rays: int | None = None
    encoder_rate: float | None = None
    renderer_rate: float | None = None
    decay_steps: int | None = None

    def of(self, training: TrainingConfig) -> TrainingConfig:
        """Return settings with these changes."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        rays = {"rays": given.pop("rays")} if "rays" in given else {}
        return replace(
            training,
            batch=replace(training.batch, **rays),
            optimiser=replace(training.optimiser, **given),
        )


@dataclass(frozen=True)
class Trained:
    """What a training run did while the clock ran."""

    steps: int
    rays: int
    seconds: float


@dataclass(frozen=True)
class Span:
    """How long a run takes; the first limit that is reached ends it."""

    seconds: float
    steps: int | None = None


def train_for(trainer: Trainer, span: Span, device: torch.device) -> Trained:
    """Take steps until the span is over, after one that does not count; at least one."""
    trainer.take_step()
    wait_for(device)
    steps = rays = 0
    started = time.perf_counter()
    while steps == 0 or (time.perf_counter() - started < span.seconds and steps != span.steps):
        _, n_rays = trainer.take_step()
        steps, rays = steps + 1, rays + n_rays
        if steps % WAIT_EVERY == 0:
            wait_for(device)
    wait_for(device)
    return Trained(steps, rays, time.perf_counter() - started)


def held_out_psnr(model: GsnModel, scene: Scene, render: RenderConfig) -> float:
    """Return the mean PSNR of the first held-out views of a scene, in dB."""
    renderer = SceneRenderer(model.eval(), scene, render)
    scores = []
    for view in scene.held_out.nonzero()[:N_HELD_OUT, 0].tolist():
        photo = true_view(scene, view, render.pixel_stride).rgb
        scores.append(score_image(renderer.view(view).rgb, photo, None)["psnr_db"])
    if not scores:
        raise ValueError(
            f"{scene.name}: no view is held out: lower prepare.hold, and prepare again"
        )
    return sum(scores) / len(scores)


def measure(
    packs: Sequence[Path],
    scored: Sequence[Path],
    cfg: PretrainConfig,
    span: Span,
    kernels: bool,
    device: torch.device,
    out: Path | None = None,
) -> tuple[Trained, dict[str, float]]:
    """Train for a span; return what was done, and the PSNR of each scored scene by name.

    Args:
        packs: Scenes to learn from.
        scored: Scenes to score; held-out views are never learnt from, so that the two may overlap.
        cfg: Settings; `max_steps` counts for nothing.
        span: Of stepping.
        kernels: Use the fast kernels where there are any.
        device: Where to compute.
        out: Model file to write.
    """
    torch.manual_seed(cfg.training.seed)
    model = GsnModel(cfg.model).to(device)
    model.use_kernels = kernels
    scenes = [load_scene(pack, device) for pack in packs]
    origin = Origin.describe(cfg.training, list(packs), start=asdict(cfg.model))
    # A run that the clock ends cannot be continued as if it had not ended.
    trainer = Trainer(model, scenes, cfg.training, replace(origin, fingerprint=""))
    trained = train_for(trainer, span, device)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        trainer.snapshot().save(out)
    render = RenderConfig(SOURCE_VIEWS, STRIDE, pick_chunk_rays(device, model, SOURCE_VIEWS))
    psnr = {path.stem: held_out_psnr(model, load_scene(path, device), render) for path in scored}
    return trained, psnr


def quality_row(rays: int, trained: Trained, psnr: dict[str, float]) -> list[str]:
    """Return the cells below `HEAD` and the names of the scored scenes."""
    rate = f"{trained.rays / trained.seconds:.0f}"
    cells = [f"{rays}", f"{trained.steps}", f"{trained.seconds:.1f}", rate]
    return [*cells, *(f"{value:.2f}" for value in psnr.values())]


def in_folder(prepared: Path, names: Sequence[str]) -> list[Path]:
    """Return the packs of some scenes."""
    return [prepared / f"{name}.h5" for name in names]


def main(
    prepared: PreparedFolder,
    train: Annotated[list[str] | None, typer.Option(help="Scenes; scenes.train if none.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="Scenes; scenes.test if none.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Of stepping, for each run.")] = 400.0,
    steps: Annotated[int | None, typer.Option(min=1, help="That end a run early.")] = None,
    rays: Annotated[
        list[int] | None, typer.Option(min=1, help="Of a step; a run for each.")
    ] = None,
    encoder_rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    renderer_rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    decay_steps: Annotated[int | None, typer.Option(min=1, help="Between decays.")] = None,
    kernels: Annotated[bool, typer.Option(help="Use the fast ones where they run.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder for models: <rays>.pt.")] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
) -> None:
    """Print one table."""
    logging.basicConfig(level=logging.WARNING)
    place = pick_device(device)
    cfg = load_section(params, "pretrain", PretrainConfig)
    named = load_section(params, "scenes", ScenesConfig)
    learnt, scored = train or named.train, score or named.test
    check_no_leakage(prepared, [name for name in scored if name not in learnt], learnt)
    fast = kernels and kernels_run(cfg.model, None, place)
    rows = []
    for n_rays in rays or [cfg.training.batch.rays]:
        changes = Changes(n_rays, encoder_rate, renderer_rate, decay_steps)
        run = replace(cfg, training=changes.of(cfg.training))
        model_file = out / f"{n_rays}.pt" if out else None
        packs, scored_packs = in_folder(prepared, learnt), in_folder(prepared, scored)
        found = measure(packs, scored_packs, run, Span(seconds, steps), kernels, place, model_file)
        rows.append(quality_row(n_rays, *found))
    titles = [f"{name} dB{' (seen)' if name in learnt else ''}" for name in scored]
    typer.echo(f"{headline(place)}\n")
    typer.echo(
        f"stage I of {params} on {len(learnt)} scenes, {'with' if fast else 'without'} kernels; "
        f"{N_HELD_OUT} held-out views a scene, stride {STRIDE}, {SOURCE_VIEWS} source views\n"
    )
    typer.echo(table([*HEAD, *titles], rows))


if __name__ == "__main__":
    typer.run(main)
