"""Train `dino-demo`: python -m demo_teachers.train_dino OUT.safetensors.

Needs one CUDA GPU and as many CPU cores as there are to render; 20 minutes are more than enough.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn import functional

from demo_teachers.crops import (
    Crops,
    cut,
    draw_crops,
    follow,
    normalise,
    sample_cells,
    vary_colours,
)
from demo_teachers.dino import Pair, cross_entropy
from demo_teachers.run import Minutes, Run, Seed, Workers, save_half
from demo_teachers.stream import HEIGHT, WIDTH, Pairs
from demo_teachers.validation import Validation
from gsn.teachers.demo.networks import PATCH_PX, TRAINING_SIDE_PX

LOCAL_SIDE_PX, LOCALS = 56, 3  # side, and crops of each picture
GLOBAL_AREA, LOCAL_AREA = (0.25, 1.0), (0.04, 0.25)
WEIGHT_DECAY = 0.04
FIRST_TEMPERATURE, TEMPERATURE, TEMPERATURE_WARMUP = 0.04, 0.06, 0.25  # the last: part of the run
FIRST_MOMENTUM = 0.99
COLOURS = 0.7  # how far colours of crops vary
HIDDEN = 0.35  # part of the patches of a global crop, hidden from the student
ASPECT = WIDTH / HEIGHT


@dataclass(frozen=True)
class Seen:
    """What the teacher sees in the global crops of n pictures; the partner of row k is k ± n/2."""

    crops: Crops
    picture: Tensor  # (n, K) probabilities
    patches: Tensor  # (n, K, h, w) probabilities

    @property
    def partner(self) -> "Seen":
        """What it sees in the partners."""
        half = len(self.picture) // 2
        crops = Crops(self.crops.centre.roll(half, 0), self.crops.half.roll(half, 0))
        return Seen(crops, self.picture.roll(half, 0), self.patches.roll(half, 0))

    def match(self, cosines: Tensor, points: Tensor) -> Tensor:  # ()
        """Return the loss of a student's patches (n, a, b, K) at points of the pictures."""
        at = self.crops.locate(points).to(self.patches.dtype)
        target, inside = sample_cells(self.patches, at)
        return cross_entropy(cosines, target.permute(0, 2, 3, 1), inside)


def step_losses(pair: Pair, pairs: Pairs, temperature: float) -> dict[str, Tensor]:
    """Return the parts of the objective on pairs of pictures."""
    # All first pictures, then all second ones.
    images = pairs.images.transpose(0, 1).flatten(0, 1)
    warps = pairs.warps.transpose(0, 1).flatten(0, 1)
    crops = draw_crops(len(images), GLOBAL_AREA, ASPECT, images.device)
    views = cut(images, crops, TRAINING_SIDE_PX)
    with torch.no_grad():
        picture, patches = pair.teacher(normalise(vary_colours(views, COLOURS)))
        seen = Seen(
            crops,
            pair.of_pictures(picture, temperature),
            pair.of_patches(patches, temperature).permute(0, 3, 1, 2),
        )
    side = TRAINING_SIDE_PX // PATCH_PX
    hide = draw_hidden(len(images), side, images.device)
    own_picture, own_patches = pair.student(normalise(vary_colours(views, COLOURS)), hide)
    return {
        "picture": cross_entropy(own_picture, seen.partner.picture),
        "across": seen.partner.match(own_patches, follow(warps, crops.grid(side))),
        "hidden": cross_entropy(own_patches, seen.patches.permute(0, 2, 3, 1), hide),
        **local_losses(pair, images, warps, seen),
    }


def local_losses(pair: Pair, images: Tensor, warps: Tensor, seen: Seen) -> dict[str, Tensor]:
    """Return the parts that small crops have: each against its own picture and the partner."""
    crops = [draw_crops(len(images), LOCAL_AREA, ASPECT, images.device) for _ in range(LOCALS)]
    views = torch.cat([cut(images, one, LOCAL_SIDE_PX) for one in crops])
    picture, patches = pair.student(normalise(vary_colours(views, COLOURS)))
    of_pictures, of_patches = [], []
    for one, own_picture, own_patches in zip(
        crops, picture.chunk(LOCALS), patches.chunk(LOCALS), strict=True
    ):
        points = one.grid(LOCAL_SIDE_PX // PATCH_PX)
        of_patches += [
            seen.match(own_patches, points),
            seen.partner.match(own_patches, follow(warps, points)),
        ]
        of_pictures += [
            cross_entropy(own_picture, target) for target in (seen.picture, seen.partner.picture)
        ]
    return {
        "local picture": torch.stack(of_pictures).mean(),
        "local": torch.stack(of_patches).mean(),
    }


def draw_hidden(n: int, side: int, device: torch.device) -> Tensor:  # (n, side, side) bool
    """Hide patches in blobs, so that they cannot be copied from their neighbours."""
    field = functional.interpolate(
        torch.rand(n, 1, side // 2, side // 2, device=device), (side, side), mode="bilinear"
    )[:, 0]
    edge = field.flatten(1).quantile(HIDDEN, dim=1)
    hide = field < edge[:, None, None]
    return hide & (torch.rand(n, 1, 1, device=device) < 0.6)


def train(out: Path, run: Run, n_pairs: int) -> None:
    """Train, measuring on validation scenes now and then, and write the teacher's weights."""
    bank = run.fill_bank(n_pairs, named_colours=False)
    validation = Validation()
    pair = Pair(run.device)
    optimiser = run.optimiser(pair.student, WEIGHT_DECAY)
    for step, part in run.steps("dino-demo", optimiser, bank):
        warm = min(1.0, part / TEMPERATURE_WARMUP)
        temperature = FIRST_TEMPERATURE + (TEMPERATURE - FIRST_TEMPERATURE) * warm
        with run.autocast():
            losses = step_losses(pair, bank.draw(n_pairs), temperature)
        run.descend(optimiser, pair.student, losses)
        pair.follow(1 - (1 - FIRST_MOMENTUM) * 0.5 * (1 + math.cos(math.pi * part)))
        if run.is_mark(part):
            run.report(
                step, losses, "label transfer", validation.miou(pair.teacher.vit, run.device)
            )
            save_half(pair.teacher.vit, out)
    save_half(pair.teacher.vit, out)


def main(
    out: Annotated[Path, typer.Argument(help="Weights to write.")],
    minutes: Minutes = 15.0,
    pairs: Annotated[int, typer.Option(help="Pairs of pictures a step.")] = 128,
    workers: Workers = 15,
    seed: Seed = 7,
) -> None:
    """Train dino-demo."""
    train(out, Run(minutes, workers, seed), pairs)


if __name__ == "__main__":
    typer.run(main)
