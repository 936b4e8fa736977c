"""Measure the demo teachers on held-out scenes: python -m demo_teachers.measure.

Two tables: labels carried between views (colour, untrained ViT, demo teachers), and objects found
by their captions. Some minutes on a CPU.
"""

from typing import Annotated

import torch
import typer
from tqdm import tqdm

from benchmarks.report import machine, table
from demo_teachers.held_out import (
    HELD_OUT,
    LabelledScene,
    PixelFeatures,
    colour_features,
    held_out_scenes,
    smooth_colour_features,
    teacher_features,
)
from demo_teachers.label_transfer import label_transfer_miou
from demo_teachers.text_queries import text_miou
from gsn.teachers import load_teacher
from gsn.teachers.teacher import HUB, SEEDED, ClipConfig, Teacher, TeacherConfig, VitConfig

LONG_SIDES_PX = (None, 288, 384)
SEEDS = (0, 1, 2)  # of untrained weights: their mean is told
CPU = torch.device("cpu")


def demo_teacher(name: str, weights: str, seed: int, long_side_px: int | None) -> Teacher:
    """Load a demo teacher, or its network untrained, with usual settings."""
    config = TeacherConfig(
        name=name,
        weights=weights,
        seed=seed,
        long_side_px=long_side_px,
        vit=VitConfig(layers=[-1], facet="token", stride_px=None),
        clip=ClipConfig(mode="dense", window_px=[96], window_stride_px=48, merge="mean"),
        prompts=[],
    )
    return load_teacher(config, CPU)


def transfer_rows(scenes: list[LabelledScene]) -> list[tuple[str, ...]]:
    """Measure label transfer."""

    def percent(features: PixelFeatures) -> str:
        return f"{100 * label_transfer_miou(scenes, features):.1f}"

    colours = [
        ("colour of the pixel", percent(colour_features)),
        ("mean colour of 8 × 8 pixels", percent(smooth_colour_features)),
    ]
    rows: list[tuple[str, ...]] = [(name, *[value] * len(LONG_SIDES_PX)) for name, value in colours]
    untrained = []
    for side in tqdm(LONG_SIDES_PX, "untrained"):
        teachers = [demo_teacher("dino-demo", SEEDED, seed, side) for seed in SEEDS]
        found = [label_transfer_miou(scenes, teacher_features(teacher)) for teacher in teachers]
        untrained.append(f"{100 * sum(found) / len(found):.1f}")
    rows.append(("the ViT of dino-demo, untrained", *untrained))
    for name in ("dino-demo", "clip-demo"):
        teachers = [demo_teacher(name, HUB, 0, side) for side in LONG_SIDES_PX]
        found_by = [percent(teacher_features(teacher)) for teacher in tqdm(teachers, name)]
        rows.append((name, *found_by))
    return rows


def text_rows(scenes: list[LabelledScene]) -> list[tuple[str, ...]]:
    """Measure what is found by captions."""
    cells = []
    for side in tqdm(LONG_SIDES_PX, "texts"):
        teacher = demo_teacher("clip-demo", HUB, 0, side)
        embed = teacher.embed_texts  # type: ignore[attr-defined]  # clip-demo reads texts
        cells.append(f"{100 * text_miou(scenes, teacher_features(teacher), embed):.1f}")
    return [("clip-demo", *cells)]


def main(
    scenes: Annotated[int, typer.Option(help="Held-out scenes, of five views each.")] = 24,
) -> None:
    """Measure and print tables."""
    rendered = held_out_scenes(scenes)
    head = [f"{side or HELD_OUT.width_px} px" for side in LONG_SIDES_PX]
    typer.echo(f"{machine(CPU)}; {scenes} scenes of {HELD_OUT.n_views} views")
    typer.echo(table(("label transfer, mIoU in %", *head), transfer_rows(rendered)))
    typer.echo(table(("found by caption, mIoU in %", *head), text_rows(rendered)))


if __name__ == "__main__":
    typer.run(main)
