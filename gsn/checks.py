"""Checks of arguments at public entry points: fixed cost, a message that names what is wrong."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol


class Shaped(Protocol):
    """Anything with a shape: a torch tensor, a numpy array, an HDF5 data set."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes, outermost first."""


def check_shape(
    name: str, array: Shaped, pattern: str, sizes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Compare the shape of `array` with `pattern` and return the size of every named dimension.

    Args:
        name: What to call the array in the message.
        array: The array.
        pattern: Dimensions divided by blanks: a number must match, a name is bound at its first
            use and must match afterwards, `_` matches anything.
        sizes: Names bound by an earlier check.

    Returns:
        `sizes` and the names bound here.

    Raises:
        ValueError: The shape does not fit.
    """
    shape = tuple(array.shape)
    dims = pattern.split()
    bound = dict(sizes or {})
    fits = len(shape) == len(dims)
    for dim, size in zip(dims, shape, strict=False):
        if dim != "_" and size != (int(dim) if dim.isdigit() else bound.setdefault(dim, size)):
            fits = False
    if not fits:
        wanted = " ".join(str((sizes or {}).get(dim, dim)) for dim in dims)
        raise ValueError(f"{name}: expected shape ({wanted}), got {shape}")
    return bound


def composed(name: str) -> str:
    """Return a file name in the one coding (NFC) of letters that have several, such as é."""
    return unicodedata.normalize("NFC", name)


def find_twins(names: Iterable[str]) -> list[str]:
    """Return the names, sorted, that stand for one file on disks that are lax about names.

    There upper and lower case, or two codings of one letter, make no difference: of two such
    files one would replace the other.
    """
    listed = list(names)
    stored = [composed(composed(name).casefold()) for name in listed]
    count = Counter(stored)
    return sorted({name for name, key in zip(listed, stored, strict=True) if count[key] > 1})
