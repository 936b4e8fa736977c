"""Captions of rendered pictures, and of which crops and which patches each is true."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from demo_teachers.stream import ATTRIBUTES
from gsn.teachers.demo.words import tokenize

ANY = -1
# The generator's word first; captions use one of them.
SHAPE_WORDS = {
    "sphere": ("sphere", "ball"),
    "box": ("box", "box", "cube", "block"),
    "ring": ("ring", "ring", "torus", "donut"),
    "capsule": ("capsule", "pill"),
    "mug": ("mug", "cup"),
    "pawn": ("pawn", "chess piece"),
}
COLOUR_WORDS = {"purple": ("purple", "purple", "violet"), "grey": ("grey", "gray")}
# As "a {} ball" and as "a ball with {}".
WITH_PATTERN = {
    "striped": "stripes",
    "wavy": "waves",
    "checked": "checks",
    "dotted": "dots",
    "speckled": "speckles",
    "patched": "patches",
}
BACKGROUND = ("background", "the background", "a table and a wall", "the room", "an empty table")
# Which of shape, colour and pattern a description names, and how often.
NAMED = ((1, 1, 1), (1, 1, 0), (1, 0, 1), (1, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))
OFTEN = (0.45, 0.2, 0.1, 0.08, 0.07, 0.05, 0.05)
RELATIONS = ("behind", "in front of", "left of", "right of")
BESIDE, BEYOND = 0.06, 0.7  # least distance across, in picture widths, and in depth, scene units


@dataclass(frozen=True)
class Content:
    """What B crops show of at most N objects each."""

    things: Tensor  # (B, N, 3) shape, colour, pattern; -1 for no object
    shown: Tensor  # (B, N) bool: large enough in the crop to be spoken of
    across: Tensor  # (B, N) position from left to right, in picture widths
    depth: Tensor  # (B, N) distance from the camera, in scene units


@dataclass(frozen=True)
class Captions:
    """T texts about one thing each, or about two and their relation."""

    tokens: Tensor  # (T, CONTEXT)
    first: Tensor  # (T, 3) shape, colour, pattern; ANY where the text says nothing of it
    second: Tensor  # (T, 3), of the other thing of a relation
    relation: Tensor  # (T,) number in RELATIONS, ANY for texts about one thing


def describe(rng: np.random.Generator, thing: tuple[int, int, int]) -> tuple[str, list[int]]:
    """Describe a thing in words; return them and what of its attributes they tell."""
    shape, colour, pattern = (
        names[number] for names, number in zip(ATTRIBUTES, thing, strict=True)
    )
    named = list(NAMED[rng.choice(len(NAMED), p=OFTEN)])
    if pattern == "plain" and named[2] and rng.random() < 0.7:
        named[2] = 0  # nobody says plain, mostly
        named[1] = 1
    noun = str(rng.choice(SHAPE_WORDS.get(shape, (shape,))))
    if not named[0]:
        noun = str(rng.choice(["thing", "object"]))
    words = [str(rng.choice(COLOUR_WORDS.get(colour, (colour,))))] if named[1] else []
    tail = ""
    if named[2] and pattern in WITH_PATTERN and rng.random() < 0.2:
        tail = f" with {WITH_PATTERN[pattern]}"
    elif named[2]:
        words.insert(int(rng.random() < 0.8) * len(words), pattern)
    told = [number if said else ANY for number, said in zip(thing, named, strict=True)]
    return " ".join([*words, noun]) + tail, told


def with_article(rng: np.random.Generator, text: str) -> str:
    """Put an article, or none, before a description."""
    indefinite = "an" if text[0] in "aeiou" else "a"
    article = str(rng.choice([indefinite, indefinite, "the", ""]))
    return f"{article} {text}".strip()


def write_captions(
    rng: np.random.Generator, content: Content, n_single: int, n_pairs: int
) -> Captions:
    """Describe things, and pairs of things, that some of the crops show."""
    things, shown = content.things.cpu().numpy(), content.shown.cpu().numpy()
    singles = np.argwhere(shown)
    crowded = np.flatnonzero(shown.sum(axis=1) > 1)
    texts, rows = [], []
    nothing = [ANY] * 3
    for crop, k in singles[rng.integers(len(singles), size=n_single)]:
        text, told = describe(rng, tuple(things[crop, k]))
        texts.append(with_article(rng, text))
        rows.append((told, nothing, ANY))
    for crop in rng.choice(crowded, size=n_pairs) if len(crowded) else []:
        k, other = rng.choice(np.flatnonzero(shown[crop]), size=2, replace=False)
        relation = int(rng.integers(len(RELATIONS)))
        (text, told), (beside, known) = (describe(rng, tuple(things[crop, j])) for j in (k, other))
        parts = with_article(rng, text), RELATIONS[relation], with_article(rng, beside)
        texts.append(" ".join(parts))
        rows.append((told, known, relation))
    first, second, relations = zip(*rows, strict=True)
    device = content.things.device
    return Captions(
        tokens=tokenize(texts).to(device),
        first=torch.tensor(first, device=device),
        second=torch.tensor(second, device=device),
        relation=torch.tensor(relations, device=device),
    )


def fits(told: Tensor, things: Tensor) -> Tensor:  # (T, B, N) bool
    """Say which things (B, N, 3) a description (T, 3) is true of."""
    wanted = told[:, None, None]
    return ((wanted == ANY) | (wanted == things)).all(dim=-1) & (things[..., 0] >= 0)


def true_of_crops(captions: Captions, content: Content) -> Tensor:  # (T, B) bool
    """Say which captions are true of which crops."""
    first = fits(captions.first, content.things) & content.shown
    second = fits(captions.second, content.things) & content.shown
    across = content.across[:, :, None] - content.across[:, None]  # first less second
    depth = content.depth[:, :, None] - content.depth[:, None]
    holds = torch.stack([depth > BEYOND, depth < -BEYOND, across < -BESIDE, across > BESIDE])
    related = holds[captions.relation.clamp(min=0)]  # (T, B, N, N)
    both = (first[..., :, None] & second[..., None, :] & related).any(dim=(-1, -2))
    return torch.where((captions.relation == ANY)[:, None], first.any(dim=-1), both)
