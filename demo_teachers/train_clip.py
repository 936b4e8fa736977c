"""Train `clip-demo`: python -m demo_teachers.train_clip OUT.safetensors.

Pictures and captions are pulled together in one space, twice: a crop, through the class token,
with each caption that is true of it (sigmoid loss of Zhai et al. 2023, arXiv 2303.15343, eq. 1,
with all true pairs known); and each patch, through the dense path that the teacher `clip-demo`
reads, with the captions of the object it shows. Needs one CUDA GPU; under 20 minutes. With
`--start FILE --texts-only` the text tower alone is trained on, which a CPU can do.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from demo_teachers.captions import (
    BACKGROUND,
    Captions,
    Content,
    fits,
    true_of_crops,
    write_captions,
)
from demo_teachers.crops import Crops, cut, draw_crops, normalise, vary_colours
from demo_teachers.run import Minutes, Run, Seed, Workers, save_half
from demo_teachers.stream import HEIGHT, WIDTH, Pairs
from demo_teachers.validation import TextValidation
from gsn.teachers.clip_dense import ClipPatches
from gsn.teachers.demo.networks import PATCH_PX, TRAINING_SIDE_PX, create_clip_demo
from gsn.teachers.demo.words import WORDS, tokenize
from gsn.teachers.weights import load_strictly, read_weights

AREA = (0.12, 1.0)
ASPECT = WIDTH / HEIGHT
SINGLES, PAIRS_OF_THINGS = 224, 96  # captions a step
SUBCELLS = 4  # points each way by which a patch is given to an object
SMALLEST = 1.5  # patches that an object must fill to be spoken of
MAJORITY = 0.6  # part of a patch that makes it the object's
WEIGHT_DECAY = 0.05
TRUE_WEIGHT = 8.0  # of true pairs beside false ones, which are many more


class Towers(nn.Module):
    """The network with its scales: cosines to logits."""

    def __init__(self, *, texts_only: bool) -> None:
        super().__init__()
        self.network: Any = create_clip_demo(len(WORDS))
        self.network.visual.requires_grad_(not texts_only)
        self._texts_only = texts_only
        self.patches = ClipPatches(self.network.visual)
        self.scale = nn.Parameter(torch.tensor([2.5, 2.5]))  # log; of pictures, of patches
        self.bias = nn.Parameter(torch.tensor([-5.0, -5.0]))

    def texts(self, tokens: Tensor) -> Tensor:  # (T, C)
        """Embed texts, unit length."""
        return functional.normalize(self.network.encode_text(tokens).float(), dim=-1)

    def pictures(self, images: Tensor) -> Tensor:  # (B, C)
        """Embed pictures, unit length."""
        with torch.set_grad_enabled(not self._texts_only):
            return functional.normalize(self.network.encode_image(images).float(), dim=-1)

    def cells(self, images: Tensor) -> Tensor:  # (B, h·w, C)
        """Embed patches, unit length."""
        with torch.set_grad_enabled(not self._texts_only):
            return functional.normalize(self.patches(images).float(), dim=-1)


def sigmoid_loss(logits: Tensor, true: Tensor) -> Tensor:
    """Return the mean loss of pairs that are true or not, true ones weighted."""
    signed = torch.where(true, logits, -logits)
    weight = torch.where(true, TRUE_WEIGHT, 1.0)
    return -(functional.logsigmoid(signed) * weight).mean()


def choice_loss(logits: Tensor, true: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy of choosing, for each row, all of its true columns alike.

    After Khosla et al. 2020 (arXiv 2004.11362, eq. 2): a row that several texts are true of must
    give each its share, so that the easy ones ("a thing") do not excuse it from the precise ones.
    """
    n_true = true.sum(dim=1)
    of_true = torch.where(true, logits, 0.0).sum(dim=1) / n_true.clamp(min=1)
    losses = logits.logsumexp(dim=1) - of_true
    weight = (n_true > 0) * (1.0 if weight is None else weight)
    return (losses * weight).sum() / weight.sum().clamp(min=1e-6)  # 0 where nothing is true


def look_into(pairs: Pairs, crops: Crops) -> tuple[Content, Tensor]:
    """Say what crops of the first pictures show, and what part of a patch each object has.

    Returns:
        What is shown, and parts (B, h·w, N + 1), of the background first.
    """
    side = TRAINING_SIDE_PX // PATCH_PX
    n_things = pairs.things.shape[1]
    points = crops.grid(side * SUBCELLS)
    found = functional.grid_sample(
        pairs.masks[:, 0, None].float(), points, mode="nearest", align_corners=False
    )[:, 0].long()
    one_hot = functional.one_hot(found.clamp(max=n_things), n_things + 1).float()
    blocks = one_hot.reshape(len(one_hot), side, SUBCELLS, side, SUBCELLS, n_things + 1)
    parts = blocks.mean(dim=(2, 4)).flatten(1, 2)
    places = pairs.places[:, 0]
    content = Content(
        things=pairs.things,
        shown=(parts.sum(dim=1)[:, 1:] > SMALLEST) & (pairs.things[..., 0] >= 0),
        across=places[..., 0] * torch.sign(crops.half[:, :1]),
        depth=places[..., 1],
    )
    return content, parts


def true_of_patches(captions: Captions, content: Content, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Say which patches (B·h·w, T) captions of one thing are true of, and which patches count.

    The texts of BACKGROUND follow the captions. Patches that several share do not count.
    """
    part, owner = parts.max(dim=-1)  # (B, h·w)
    of_things = fits(captions.first, content.things).permute(1, 2, 0)  # (B, N, T)
    n_background = len(BACKGROUND)
    table = functional.pad(of_things, (0, n_background, 1, 0))  # (B, N + 1, T + n)
    table[:, 0, -n_background:] = True
    true = table.gather(1, owner[..., None].expand(-1, -1, table.shape[-1]))
    return true.flatten(0, 1), (part > MAJORITY).flatten()


def step_losses(towers: Towers, pairs: Pairs, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the parts of the objective on the first pictures of pairs."""
    crops = draw_crops(len(pairs.images), AREA, ASPECT, pairs.images.device)
    content, parts = look_into(pairs, crops)
    captions = write_captions(rng, content, SINGLES, PAIRS_OF_THINGS)
    seen = cut(pairs.images[:, 0], crops, TRAINING_SIDE_PX)
    seen = normalise(vary_colours(seen, 0.35))
    background = tokenize(list(BACKGROUND)).to(seen.device)
    texts = towers.texts(torch.cat([captions.tokens, background]))
    scale, bias = towers.scale.exp(), towers.bias
    of_crops = towers.pictures(seen) @ texts[: len(captions.tokens)].T * scale[0] + bias[0]
    true_crops = true_of_crops(captions, content).T
    single = Captions(*(part[:SINGLES] for part in vars(captions).values()))
    of_one = torch.cat([texts[:SINGLES], texts[-len(BACKGROUND) :]])
    true_cells, counted = true_of_patches(single, content, parts)
    cells = towers.cells(seen).flatten(0, 1)[counted]
    of_cells = cells @ of_one.T * scale[1] + bias[1]
    true_cells = true_cells[counted]
    # Most patches show the background: objects together count as much.
    empty = true_cells[:, -1]
    weight = torch.where(empty, 1 / empty.sum().clamp(min=1), 1 / (~empty).sum().clamp(min=1))
    return {
        "crops": sigmoid_loss(of_crops, true_crops),
        "captions": choice_loss(of_crops.T, true_crops.T),
        "patches": sigmoid_loss(of_cells, true_cells),
        "texts of patches": choice_loss(of_cells, true_cells, weight),
        "patches of texts": choice_loss(of_cells.T, true_cells.T),
    }


def train(out: Path, run: Run, n_pairs: int, start: Path | None, *, texts_only: bool) -> None:
    """Train, measuring on validation scenes now and then, and write the weights."""
    first = {} if start is None else read_weights(start)
    bank = run.fill_bank(n_pairs, named_colours=True)
    validation = TextValidation()
    rng = np.random.default_rng(run.seed)
    towers = Towers(texts_only=texts_only).to(run.device)
    if start is not None:
        load_strictly(towers.network, first, start)
    optimiser = run.optimiser(towers, WEIGHT_DECAY)
    for step, part in run.steps("clip-demo", optimiser, bank):
        with run.autocast():
            losses = step_losses(towers, bank.draw(n_pairs), rng)
        run.descend(optimiser, towers, losses)
        if run.is_mark(part):
            run.report(step, losses, "IoU from text", validation.miou(towers.network, run.device))
            save_half(towers.network, out)
    save_half(towers.network, out)


def main(
    out: Annotated[Path, typer.Argument(help="Weights to write.")],
    minutes: Minutes = 15.0,
    pairs: Annotated[int, typer.Option(help="Pictures a step.")] = 192,
    workers: Workers = 15,
    seed: Seed = 11,
    start: Annotated[Path | None, typer.Option(help="Weights to go on from.")] = None,
    texts_only: Annotated[
        bool, typer.Option("--texts-only", help="Keep the picture tower.")
    ] = False,
) -> None:
    """Train clip-demo."""
    train(out, Run(minutes, workers, seed), pairs, start, texts_only=texts_only)


if __name__ == "__main__":
    typer.run(main)
