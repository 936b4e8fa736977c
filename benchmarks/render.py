"""One whole view rendered from its source views, on a scene of noise: python -m benchmarks.render.

The published network at every pixel, or with `--default-run` that of the settings file at the
pixels its evaluation renders. With the encoder, the source photographs are encoded first, one at a
time; without, their maps are there, as they are for every view of a scene but the first.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.cost import Work, render_cost
from benchmarks.report import PATH_HEAD, Timing, headline, path_row, table, time_each, which_paths
from benchmarks.train_step import (
    channels_of,
    default_sizes,
    noise_scene,
    published_model,
    stages,
)
from gsn.evaluation.config import EvaluateConfig
from gsn.evaluation.views.rendering import RenderConfig, SceneRenderer, pick_chunk_rays
from gsn.model.network import GsnModel, ModelConfig
from gsn.model.scene import Scene
from pipeline.command import DEFAULT_PARAMS, DeviceName, ParamsFile
from pipeline.config import load_section
from pipeline.device import pick_device
from pipeline.pretrain import PretrainConfig

AS_EVALUATE = 0  # rays at a time
SHOWN = {"stage I": "colour", "stage II": "colour and features"}  # by the stage of the model


@dataclass(frozen=True)
class RenderCase:
    """One kind of view."""

    name: str
    model: ModelConfig
    scene: Scene  # one view held out, which is rendered; all others are its source views
    render: RenderConfig
    work: Work


def make_cases(
    model: ModelConfig, sizes: Work, render: RenderConfig, device: torch.device
) -> Iterator[RenderCase]:
    """Make a view of colour, and one of colour and features."""
    stride = render.pixel_stride
    rays = -(-sizes.height // stride) * -(-sizes.width // stride)
    middle = render.source_views // 2
    for stage, work in stages(replace(sizes, rays=rays, views=render.source_views)):
        scene = noise_scene(0, render.source_views + 1, work, device, held_out=middle)
        yield RenderCase(SHOWN[stage], model, scene, render, work)


def default_model(params: Path, chunk_rays: int) -> tuple[ModelConfig, RenderConfig]:
    """Return the network of the settings file, and how its evaluation renders."""
    evaluate = load_section(params, "evaluate", EvaluateConfig)
    render = RenderConfig(evaluate.source_views, evaluate.pixel_stride, chunk_rays)
    return load_section(params, "pretrain", PretrainConfig).model, render


def time_renders(
    case: RenderCase, kernels: bool, with_encoder: bool, device: torch.device, repeats: int
) -> Timing | None:
    """Render the view again and again, after once; None if the memory is too small."""
    torch.manual_seed(0)
    model = GsnModel(case.model, channels_of(case.work)).to(device).eval()
    model.use_kernels = kernels
    target = int(case.scene.held_out.nonzero()[0, 0])
    how = case.render
    if how.chunk_rays == AS_EVALUATE:
        how = replace(how, chunk_rays=pick_chunk_rays(device, model, how.source_views))
    kept = SceneRenderer(model, case.scene, how)

    def render() -> None:
        renderer = SceneRenderer(model, case.scene, how) if with_encoder else kept
        renderer.view(target)

    return time_each(render, device, 1, repeats)


def render_row(
    case: RenderCase,
    kernels: bool,
    with_encoder: bool,
    timing: Timing | None,
    device: torch.device,
) -> list[str]:
    """Return the cells below `PATH_HEAD`."""
    name = f"{case.name}{', with encoder' if with_encoder else ''}"
    cost = render_cost(case.model, case.work, with_encoder)
    return path_row(name, kernels, timing, cost, case.work.rays, device, digits=1)


def main(
    views: Annotated[int, typer.Option(min=1, help="Source views.")] = 10,
    height: Annotated[int, typer.Option(min=1, help="Of the photographs, in pixels.")] = 378,
    width: Annotated[int, typer.Option(min=1, help="Of the photographs, in pixels.")] = 504,
    stride: Annotated[int, typer.Option(min=1, help="Every so many-th column and row.")] = 1,
    chunk_rays: Annotated[int | None, typer.Option(min=1, help="As `evaluate`, if none.")] = None,
    parity: Annotated[bool, typer.Option(help="The network as published.")] = False,
    kernels: Annotated[bool | None, typer.Option(help="Both, if not told.")] = None,
    default_run: Annotated[bool, typer.Option(help="Sizes of the settings file.")] = False,
    params: ParamsFile = DEFAULT_PARAMS,
    repeats: Annotated[int, typer.Option(min=1, help="Renderings that are timed.")] = 5,
    device: DeviceName = "auto",
) -> None:
    """Print one table."""
    logging.basicConfig(level=logging.WARNING)
    place = pick_device(device)
    chunk = chunk_rays or AS_EVALUATE
    if default_run:
        sizes = default_sizes(params)
        model, render = default_model(params, chunk)
        network = f"network of {params}"
    else:
        sizes = Work(0, views, height, width)
        model, render = published_model(parity), RenderConfig(views, stride, chunk)
        network = f"published network, parity {parity}"
    rows = [
        render_row(case, fast, encode, time_renders(case, fast, encode, place, repeats), place)
        for case in make_cases(model, sizes, render, place)
        for encode in (False, True)
        for fast in which_paths(kernels, case.model, channels_of(case.work), place)
    ]
    typer.echo(f"{headline(place)}\n")
    typer.echo(
        f"{network}, a view of {sizes.height} × {sizes.width} at stride {render.pixel_stride} from "
        f"{render.source_views} views, rays at a time: {chunk_rays or 'as `evaluate`'}, {repeats} "
        "times\n"
    )
    typer.echo(table(PATH_HEAD, rows))


if __name__ == "__main__":
    typer.run(main)
