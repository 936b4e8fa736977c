"""The words that `clip-demo` reads; any other is one and the same unknown word to it."""

import logging
import re

import torch
from torch import Tensor

from gsn.teachers.demo.networks import CONTEXT

SHAPES = (
    "sphere ball egg box cube block cylinder cone ring torus donut capsule pill mug cup bottle bowl"
    " vase pawn"
)
COLOURS = "red orange yellow green turquoise blue purple violet pink brown white black grey gray"
PATTERNS = (
    "plain striped stripes wavy waves checked checks dotted dots marbled marble wooden wood"
    " speckled speckles patched patches"
)
OTHERS = (
    "a an the and of in on with to is behind front left right next thing object something pattern"
    " piece chess photo picture background room table wall floor empty nothing near"
)
log = logging.getLogger(__name__)
PAD, UNKNOWN = 0, 1
WORDS = ("<pad>", "<unknown>", *f"{SHAPES} {COLOURS} {PATTERNS} {OTHERS}".split(), "<end>")
END = len(WORDS) - 1  # the highest number: the text tower reads its vector there
_NUMBER = {word: number for number, word in enumerate(WORDS)}


def tokenize(texts: list[str]) -> Tensor:  # (P, CONTEXT) int64
    """Turn texts into numbers of words; what is too long is cut."""
    rows = torch.full((len(texts), CONTEXT), PAD)
    for row, text in zip(rows, texts, strict=True):
        words = re.findall(r"[^\W\d_]+", text.lower())
        if strange := [word for word in words if word not in _NUMBER]:
            log.warning("clip-demo does not know %s of the text %r", strange, text)
        if len(words) >= CONTEXT:
            log.warning("clip-demo reads the first %d words of the text %r", CONTEXT - 1, text)
        words = words[: CONTEXT - 1]
        numbers = [_NUMBER.get(word, UNKNOWN) for word in words] + [END]
        row[: len(numbers)] = torch.tensor(numbers)
    return rows
