"""The pixels that a prompt file marks: drawn at the size of its image, resized to working size."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gsn.captures.decode import decode_stored
from gsn.captures.images import Size
from gsn.captures.user_files import read_bytes
from gsn.evaluation.prompts.prompt_form import Marks, PixelForm, PromptError
from gsn.evaluation.prompts.rasterise import (
    area_pixels,
    draw_lines,
    draw_points,
    draw_rectangle,
    is_inside,
    marked_pixels,
    resize_area,
    resize_strokes,
)

log = logging.getLogger(__name__)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FormMasks:
    """What a prompt file says of an object in a view; of each mask at least one pixel is set."""

    positive: Mask | None  # (H, W); None if there is a box
    negative: Mask | None  # (H, W), apart from the positive one and from the box
    reference: Mask | None  # (H, W)
    box: Mask | None  # (H, W), not all of it


def masks_of_form(
    path: Path,  # of the prompt file, for messages; its pictures lie beside it
    form: PixelForm,
    size: Size,
) -> FormMasks:
    """Draw what a prompt file says and bring it to working size.

    Raises:
        PromptError: The image has another aspect than `size`, a picture is missing, of another
            size or empty, or the prompt marks no pixel of the image, or with a box all of them.
    """
    width, height = form.image_size_px
    full = (height, width)
    if not (_is_resized(full, size) or _is_resized(size, full)):
        raise PromptError(
            f"{path}: key 'image_size_px': {width}×{height}, expected the aspect of the prepared "
            f"pictures, which have {size[1]}×{size[0]}: give width and height of the whole image "
            "that the prompt was made on"
        )
    whole = _read_png(path, form.reference, full, area_pixels) if form.reference else None
    strokes, box = _mark(path, "positive", form.positive, full) if form.positive else (None, None)
    marked = _union(strokes, box)
    if marked is not None and whole is not None and not (marked & whole).any():
        raise PromptError(
            f"{path}: no pixel of 'positive' lies in 'reference', expected both on one object: "
            "correct one of them"
        )
    negative = _union(*_mark(path, "negative", form.negative, full)) if form.negative else None
    given = _take_out(negative, strokes if marked is not None else whole, box)
    if given[0] is None and given[1] is None:
        raise PromptError(
            f"{path}: 'negative' covers every positive pixel, expected some left: make it smaller"
        )
    resize = resize_strokes if marked is not None else resize_area
    positive = resize(given[0], size) if given[0] is not None else None
    box = resize_area(given[1], size) if given[1] is not None else None
    if negative is not None:
        positive, box, negative = _apart(path, positive, box, resize_strokes(negative, size))
    if box is not None and box.all():
        raise PromptError(
            f"{path}: the rectangle or box of 'positive' covers the whole picture, expected pixels "
            "outside of it, from which the object is told: make it smaller, or draw strokes"
        )
    reference = None
    if whole is not None:
        reference = _resize_reference(whole, marked, _union(positive, box), size)
    return FormMasks(positive, negative, reference, box)


def _resize_reference(whole: Mask, marked: Mask | None, kept: Mask | None, size: Size) -> Mask:
    """Bring a reference to working size; it still holds a pixel of what was marked in it."""
    reference = resize_area(whole, size)
    if marked is None or kept is None or (kept & reference).any():
        return reference
    # An area loses pixels at its border, a stroke does not.
    return reference | resize_strokes(marked & whole, size)


def _union(mask: Mask | None, other: Mask | None) -> Mask | None:
    if mask is None or other is None:
        return other if mask is None else mask
    return mask | other


def _take_out(
    negative: Mask | None,
    positive: Mask | None,
    box: Mask | None,
) -> tuple[Mask | None, Mask | None]:
    """Return what is left of positive and box; None for what has nothing left."""
    if negative is None:
        return positive, box
    left = [None if mask is None else mask & ~negative for mask in (positive, box)]
    positive, box = (mask if mask is not None and mask.any() else None for mask in left)
    return positive, box


def _apart(
    path: Path,
    positive: Mask | None,
    box: Mask | None,
    negative: Mask,
) -> tuple[Mask | None, Mask | None, Mask]:
    """Part the sides where they meet after resizing: negative first, unless it leaves nothing."""
    left, left_box = _take_out(negative, positive, box)
    if left is not None or left_box is not None:
        return left, left_box, negative
    marked = _union(positive, box)
    assert marked is not None  # at least one of the two is given
    if (negative & ~marked).any():
        return positive, box, negative & ~marked
    raise PromptError(
        f"{path}: positive and negative fall into the same pixels of the "
        f"{negative.shape[1]}×{negative.shape[0]} picture, expected them apart: draw them farther "
        "from each other"
    )


def _is_resized(small: Size, large: Size) -> bool:
    """Whether one ratio brings `large` to `small`, to a pixel on each axis."""
    lowest = max((new - 1) / old for new, old in zip(small, large, strict=True))
    highest = min((new + 1) / old for new, old in zip(small, large, strict=True))
    return lowest <= highest


def _mark(
    path: Path, key: str, marks: Marks, size: Size
) -> tuple[Mask | None, Mask | None]:  # (H, W) both: strokes, areas
    """Draw all marks of one side; what lies outside of the image is told and cut off."""
    strokes = draw_points(marks.points, size)
    if marks.line_width_px is not None:
        strokes |= draw_lines(marks.lines, marks.line_width_px, size)
    for name in marks.strokes:
        strokes |= _read_png(path, name, size, marked_pixels)
    area = np.zeros(size, np.bool_)
    if marks.rectangle is not None:
        area |= draw_rectangle(marks.rectangle, size)
    if marks.box is not None:
        area |= _read_png(path, marks.box, size, area_pixels)
    outside = [point for point in marks.corners if not is_inside(point, size)]
    image = f"the image of {size[1]}×{size[0]} pixels"
    if not (strokes.any() or area.any()):
        raise PromptError(
            f"{path}: {key!r} lies wholly outside of {image}, expected x from 0 to {size[1] - 1} "
            f"and y from 0 to {size[0] - 1}: correct the coordinates or 'image_size_px'"
        )
    if outside:
        log.warning(
            "%s: %r: cut off at the border of %s: %d of %d points or corners lie outside, "
            "the first is %s",
            path, key, image, len(outside), len(marks.corners), list(outside[0]),
        )  # fmt: skip
    return strokes if strokes.any() else None, area if area.any() else None


def _read_png(
    path: Path, name: str, size: Size, marks: Callable[[npt.NDArray[np.generic]], Mask]
) -> Mask:  # (H, W)
    """Read what is drawn in a picture that a prompt file names."""
    png = path.parent / name
    if not png.is_file():
        raise PromptError(f"{path}: no file {name!r} beside it: add it, or correct the name")
    picture = decode_stored(png, read_bytes(png))
    if picture.shape[:2] != size:
        raise PromptError(
            f"{png}: {picture.shape[1]}×{picture.shape[0]} pixels, expected {size[1]}×{size[0]} as "
            f"'image_size_px' of {path.name} says: draw at that size, or correct the key"
        )
    marked = marks(picture)
    if not marked.any():
        raise PromptError(
            f"{png}: nothing is drawn, expected pixels that are not transparent, or not black "
            "where the picture has no transparency"
        )
    if marked.all() and picture.ndim == 3:
        raise PromptError(
            f"{png}: every pixel is drawn, expected a transparent ground, or a black one in a "
            "picture without transparency: save the strokes alone"
        )
    return marked
