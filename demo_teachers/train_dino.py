"""Train `dino-demo`: python -m demo_teachers.train_dino OUT.safetensors

Needs one CUDA GPU and as many CPU cores as there are to render; 20 minutes are more than enough.
"""

import math
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from demo_teachers.crops import Crops, cut, draw_crops, follow, normalise, sample_cells, vary_colours
from demo_teachers.dino import Pair, cross_entropy
from demo_teachers.label_transfer import Validation
from demo_teachers.run import Minutes, Run, Seed, Workers
from demo_teachers.stream import HEIGHT, WIDTH, Pairs
from gsn.teachers.demo.networks import PATCH_PX, TRAINING_SIDE_PX

LOCAL_SIDE_PX, LOCALS = 56, 3  # side, and crops of each picture
GLOBAL_AREA, LOCAL_AREA = (0.25, 1.0), (0.04, 0.25)
WEIGHT_DECAY = 0.04
FIRST_TEMPERATURE, TEMPERATURE, TEMPERATURE_WARMUP = 0.04, 0.06, 0.25  # the last: part of the run
FIRST_MOMENTUM = 0.99
HIDDEN = 0.35  # part of the patches of a global crop, hidden from the student
ASPECT = WIDTH / HEIGHT


def step_losses(pair: Pair, pairs: Pairs, temperature: float) -> dict[str, Tensor]:
    """Return the parts of the objective on pairs of pictures."""
    device = pairs.images.device
    # Picture b of each pair follows all pictures a: the partner of row k is row k ± P.
    images = pairs.images.transpose(0, 1).flatten(0, 1)
    warps = pairs.warps.transpose(0, 1).flatten(0, 1)
    n = len(images)
    crops = draw_crops(n, GLOBAL_AREA, ASPECT, device)
    other = Crops(crops.centre.roll(n // 2, 0), crops.half.roll(n // 2, 0))
    seen = cut(images, crops, TRAINING_SIDE_PX)
    side = TRAINING_SIDE_PX // PATCH_PX
    with torch.no_grad():
        picture, patches = pair.teacher(normalise(vary_colours(seen, 0.7)))
        picture = pair.of_pictures(picture, temperature)
        patches = pair.of_patches(patches, temperature)
        of_other = patches.roll(n // 2, 0).permute(0, 3, 1, 2)
        patches = patches.permute(0, 3, 1, 2)
    hide = draw_hidden(n, side, device)
    own_picture, own_patches = pair.student(normalise(vary_colours(seen, 0.7)), hide)

    def matched(mine: Tensor, points: Tensor, target: Tensor, where: Crops) -> Tensor:
        found, inside = sample_cells(target, where.locate(points).to(target.dtype))
        return cross_entropy(mine, found.permute(0, 2, 3, 1), inside)

    across = follow(warps, crops.grid(side))
    losses = {
        "picture": cross_entropy(own_picture, picture.roll(n // 2, 0)),
        "across": matched(own_patches, across, of_other, other),
        "hidden": cross_entropy(own_patches, patches.permute(0, 2, 3, 1), hide),
    }
    local_side = LOCAL_SIDE_PX // PATCH_PX
    local = [draw_crops(n, LOCAL_AREA, ASPECT, device) for _ in range(LOCALS)]
    views = torch.cat([cut(images, one, LOCAL_SIDE_PX) for one in local])
    of_picture, of_patches = pair.student(normalise(vary_colours(views, 0.7)))
    parts = list(zip(local, of_picture.chunk(LOCALS), of_patches.chunk(LOCALS), strict=True))
    losses["local picture"] = sum(
        (cross_entropy(one, target) for _, one, _ in parts for target in (picture, picture.roll(n // 2, 0))),
        torch.zeros((), device=device),
    ) / (2 * LOCALS)
    points = [one.grid(local_side) for one, _, _ in parts]
    losses["local"] = sum(
        (
            matched(mine, at, patches, crops) + matched(mine, follow(warps, at), of_other, other)
            for (_, _, mine), at in zip(parts, points, strict=True)
        ),
        torch.zeros((), device=device),
    ) / (2 * LOCALS)
    return losses


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
    validation = Validation(6)
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
            run.report(step, losses, "label transfer", validation.miou(pair.teacher.vit, run.device))
            save(pair, out)
    save(pair, out)


def save(pair: Pair, out: Path) -> None:
    """Write the teacher's ViT, without its heads, in half precision."""
    state = pair.teacher.vit.state_dict()
    save_file({name: value.half().contiguous().cpu() for name, value in state.items()}, out)


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
