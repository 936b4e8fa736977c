"""Points, lines, rectangles and pictures of strokes → the pixels of an image that they mark.

Coordinates are (x, y) in pixel indices: an integer is the centre of a pixel, so that a coordinate
belongs to the pixel at its rounding, and borders of the image lie at -1/2 and width - 1/2.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from gsn.captures.images import Size, nearest, shrink

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float]  # x, y

OPAQUE_ENOUGH = 127  # of 255: an area fills a pixel if it covers more of it


def draw_points(
    points: Sequence[Point] | FloatArray,  # (n, 2)
    size: Size,
) -> Mask:  # (H, W)
    """Mark the pixel below each point; those outside are left out."""
    marked = np.zeros(size, np.bool_)
    columns, rows = _pixels(np.asarray(points, np.float64).reshape(-1, 2)).T
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    marked[rows[inside], columns[inside]] = True
    return marked


def draw_lines(
    lines: Sequence[Sequence[Point]],  # at least one
    width_px: int,
    size: Size,
) -> Mask:  # (H, W)
    """Draw polylines with a round pen; a line of one point is a dot."""
    margin = width_px // 2 + 1  # a line beyond the border may reach into the image
    samples = []
    for line in lines:
        corners = np.asarray(line, np.float64) + margin  # (n, 2)
        samples.append(corners)
        for start, end in pairwise(corners):
            # A step is no longer than a pixel on either axis, so the line has no gap.
            n_steps = int(np.ceil(np.abs(end - start).max()))
            samples.append(np.linspace(start, end, n_steps + 1))
    wider = (size[0] + 2 * margin, size[1] + 2 * margin)
    drawn = thicken(draw_points(np.concatenate(samples), wider), width_px)
    return drawn[margin:-margin, margin:-margin]


def draw_rectangle(
    corners: tuple[float, float, float, float],  # x0, y0, x1, y1
    size: Size,
) -> Mask:  # (H, W)
    """Fill the rectangle between two opposite corners, upper left first; both belong to it."""
    # A negative index would count from the other end.
    x0, y0, x1, y1 = _pixels(np.array(corners)).tolist()
    filled = np.zeros(size, np.bool_)
    filled[max(0, y0) : max(0, y1 + 1), max(0, x0) : max(0, x1 + 1)] = True
    return filled


def is_inside(point: Point, size: Size) -> bool:
    """Whether a point lies in an image of this size."""
    x, y = _pixels(np.array(point))
    return bool(0 <= x < size[1] and 0 <= y < size[0])


def thicken(
    line: Mask,  # (H, W), thin
    width_px: int,
) -> Mask:  # (H, W)
    """Draw a thin line with a round pen of odd width; an even one draws as the odd one above."""
    from_line = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(from_line < width_px // 2 + 0.5)


def marked_pixels(picture: npt.NDArray[np.generic]) -> Mask:  # (H, W)
    """Tell the drawing from its ground in a stored picture: (H, W) or (H, W, 3 or 4).

    With an alpha channel all that is not fully transparent is drawn, else all that is not black.
    """
    if picture.ndim == 2:
        return np.asarray(picture != 0)
    if picture.shape[2] == 4:
        return np.asarray(picture[..., 3] != 0)
    return np.asarray((picture != 0).any(axis=-1))


def area_pixels(picture: npt.NDArray[np.generic]) -> Mask:  # (H, W)
    """Tell an area from its ground as masks of a capture are told: by more than half of a pixel.

    A soft border of a stroke belongs to it, that of an area is cut in the middle.
    """
    if picture.ndim == 3:
        picture = picture[..., 3] if picture.shape[2] == 4 else picture.max(axis=-1)
    return np.asarray(picture > picture.max() / 2) if picture.any() else marked_pixels(picture)


def resize_strokes(
    mask: Mask,  # (h, w)
    size: Size,
) -> Mask:  # (H, W)
    """Resize so that nothing thin is lost: a new pixel is marked if any pixel in it was.

    Pixel x of w goes to the new pixel that holds its centre, (x + 1/2) · W/w - 1/2; where the new
    image is larger, each new pixel takes the one that its own centre lies in.
    """
    for axis, new in enumerate(size):
        old = mask.shape[axis]
        if new < old:
            into = (2 * np.arange(old) + 1) * new // (2 * old)
            first = np.searchsorted(into, np.arange(new))
            mask = np.logical_or.reduceat(mask, first, axis=axis)
        else:
            mask = np.take(mask, (2 * np.arange(new) + 1) * old // (2 * new), axis=axis)
    return mask


def resize_area(
    mask: Mask,  # (h, w), at least one pixel
    size: Size,
) -> Mask:  # (H, W), at least one pixel
    """Resize as masks of a capture are: a new pixel is marked if more than half of it was.

    What is too thin for that is resized as strokes are.
    """
    if size[0] <= mask.shape[0] and size[1] <= mask.shape[1]:
        resized = shrink(np.where(mask, 255, 0).astype(np.uint8), size) > OPAQUE_ENOUGH
    else:
        resized = np.asarray(nearest(mask, size), np.bool_)
    return resized if resized.any() else resize_strokes(mask, size)


def _pixels(coordinates: FloatArray) -> npt.NDArray[np.intp]:
    """Round to the nearest pixel, halves up."""
    return np.floor(coordinates + 0.5).astype(np.intp)
