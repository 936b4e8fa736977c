"""What a prompt is, wherever it came from: a file beside the scene, or drawn from a mask."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gsn.checks import check_shape

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)  # arrays have no single truth to compare by
class PixelPrompt:
    """Pixels of one source view that point at an object.

    `reference` is the whole object in that view, where it is known: the mask that the prompt was
    drawn from, or one that a person gave. A threshold may be chosen by it. `box` is an area that
    holds the object and some of what is around it; which of its pixels are the object is found by
    what lies outside.
    """

    label: str  # of the object
    draw: int  # 0, 1, ...: several prompts for one object give the spread of its scores
    view: str  # name of the source view
    positive: Mask | None  # (H, W), at least one pixel; None if there is a box
    negative: Mask | None = None  # (H, W), at least one pixel
    reference: Mask | None = None  # (H, W), at least one pixel
    box: Mask | None = None  # (H, W), at least one pixel, and not all

    def __post_init__(self) -> None:
        if self.positive is None and self.box is None:
            raise ValueError(
                f"prompt for {self.label!r}: expected 'positive' or 'box', got neither"
            )
        size: dict[str, int] = {}
        for name in ("positive", "negative", "reference", "box"):
            mask: Mask | None = getattr(self, name)
            if mask is None:
                continue
            size = check_shape(name, mask, "H W", size)
            if mask.dtype != np.bool_ or not mask.any():
                raise ValueError(
                    f"prompt for {self.label!r}: {name}: expected a boolean array with at least "
                    f"one pixel set, got {mask.dtype} with {int(mask.sum())}"
                )
        if self.box is not None and self.box.all():
            raise ValueError(
                f"prompt for {self.label!r}: box: it covers the whole picture, expected pixels "
                "outside of it, from which the object is told: make it smaller"
            )

    @property
    def size(self) -> tuple[int, int]:
        """H, W of all masks."""
        mask = self.box if self.positive is None else self.positive
        assert mask is not None  # checked when it was made
        return mask.shape[0], mask.shape[1]

    def on_grid(self, stride: int) -> "PixelPrompt":
        """Return the prompt at every `stride`-th pixel; no stroke is lost, however thin.

        A pixel of a stroke goes to the nearest pixel of the grid. Where positive and negative meet
        there, it is negative, unless no other is positive. The reference, which is an area and no
        line, is taken at the pixel itself, as features are; where it has none there it is dropped.
        So is the box, but that neither its inside nor its outside is lost; negative pixels are
        taken out of it, unless it has no other.
        """
        positive = None if self.positive is None else _nearest_on_grid(self.positive, stride)
        negative = None if self.negative is None else _nearest_on_grid(self.negative, stride)
        if positive is not None and negative is not None:
            if (positive & ~negative).any():
                positive &= ~negative
            else:
                negative &= ~positive
        reference = None if self.reference is None else self.reference[::stride, ::stride]
        box = None if self.box is None else _area_on_grid(self.box, stride)
        if box is not None and negative is not None and (box & ~negative).any():
            box &= ~negative
        return replace(
            self,
            positive=positive,
            negative=negative if negative is not None and negative.any() else None,
            reference=reference if reference is not None and reference.any() else None,
            box=box,
        )


@dataclass(frozen=True)
class TextPrompt:
    """Words that name an object; they belong to no view."""

    label: str  # of the object
    text: str


def _nearest_on_grid(mask: Mask, stride: int) -> Mask:
    """Mark the pixel of the grid that is nearest to each pixel of the mask, the later of equals."""
    marked = np.zeros([-(-side // stride) for side in mask.shape], np.bool_)
    rows, columns = (
        np.minimum((at + stride // 2) // stride, side - 1)
        for at, side in zip(np.nonzero(mask), marked.shape, strict=True)
    )
    marked[rows, columns] = True
    return marked


def _area_on_grid(mask: Mask, stride: int) -> Mask:
    """Take an area at the pixels of the grid; what falls between them goes to the nearest one."""
    taken = mask[::stride, ::stride].copy()
    if not taken.any():
        return _nearest_on_grid(mask, stride)
    return taken & ~_nearest_on_grid(~mask, stride) if taken.all() else taken
