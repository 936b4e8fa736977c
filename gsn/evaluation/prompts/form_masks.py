"""The pixels that a prompt file marks: drawn at the size of its image, resized to working size."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gsn.captures.decode import decode_stored
from gsn.captures.images import Size
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

    positive: Mask  # (H, W)
    negative: Mask | None  # (H, W), apart from the positive one
    reference: Mask | None  # (H, W)


def masks_of_form(
    path: Path,  # of the prompt file, for messages; its pictures lie beside it
    form: PixelForm,
    size: Size,
) -> FormMasks:
    """Draw what a prompt file says and bring it to working size.

    Raises:
        PromptError: The image has another aspect than `size`, a picture is missing, of another
            size or empty, or the prompt marks no pixel of the image.
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
    positive = _mark(path, "positive", form.positive, full) if form.positive else None
    negative = _mark(path, "negative", form.negative, full) if form.negative else None
    if positive is not None and whole is not None and not (positive & whole).any():
        raise PromptError(
            f"{path}: no pixel of 'positive' lies in 'reference', expected both on one object: "
            "correct one of them"
        )
    small, small_negative = _resized(path, positive, negative, whole, size)
    reference = resize_area(whole, size) if whole is not None else None
    return FormMasks(small, small_negative, reference)


def _resized(
    path: Path,
    positive: Mask | None,  # (h, w), as the next two
    negative: Mask | None,
    whole: Mask | None,  # the positive pixels where no others are given
    size: Size,
) -> tuple[Mask, Mask | None]:  # (H, W) both
    """Take the negative pixels out of the positive ones and bring both to working size."""
    given = whole if positive is None else positive
    assert given is not None  # the form asks for one of them
    left = given if negative is None else given & ~negative
    if not left.any():
        raise PromptError(
            f"{path}: 'negative' covers every positive pixel, expected some left: make it smaller"
        )
    small = resize_area(left, size) if positive is None else resize_strokes(left, size)
    if negative is None:
        return small, None
    small_negative = resize_strokes(negative, size)
    if (small & ~small_negative).any():
        return small & ~small_negative, small_negative
    if (small_negative & ~small).any():
        return small, small_negative & ~small
    raise PromptError(
        f"{path}: positive and negative fall into the same pixels of the {size[1]}×{size[0]} "
        "picture, expected them apart: draw them farther from each other"
    )


def _is_resized(small: Size, large: Size) -> bool:
    """Whether one ratio brings `large` to `small`, to a pixel on each axis."""
    lowest = max((new - 1) / old for new, old in zip(small, large, strict=True))
    highest = min((new + 1) / old for new, old in zip(small, large, strict=True))
    return lowest <= highest


def _mark(path: Path, key: str, marks: Marks, size: Size) -> Mask:  # (H, W)
    """Draw all marks of one side; what lies outside of the image is told and cut off."""
    marked = draw_points(marks.points, size)
    if marks.line_width_px is not None:
        marked |= draw_lines(marks.lines, marks.line_width_px, size)
    if marks.rectangle is not None:
        marked |= draw_rectangle(marks.rectangle, size)
    for name in marks.strokes:
        marked |= _read_png(path, name, size, marked_pixels)
    outside = [point for point in marks.corners if not is_inside(point, size)]
    image = f"the image of {size[1]}×{size[0]} pixels"
    if not marked.any():
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
    return marked


def _read_png(
    path: Path, name: str, size: Size, marks: Callable[[npt.NDArray[np.generic]], Mask]
) -> Mask:  # (H, W)
    """Read what is drawn in a picture that a prompt file names."""
    png = path.parent / name
    if not png.is_file():
        raise PromptError(f"{path}: no file {name!r} beside it: add it, or correct the name")
    picture = decode_stored(png, png.read_bytes())
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
