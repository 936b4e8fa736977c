"""Outlines of masks, and the enlargement that keeps them thin in small pictures."""

from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from gsn.checks import check_shape

Mask = npt.NDArray[np.bool_]
Pixel = TypeVar("Pixel", bound=np.generic)

OUTLINE = (255, 255, 255)
DRAWING_PX = 384  # long side to which small pictures are enlarged before anything is drawn


def drawing_scale(height: int, width: int) -> int:
    """Return by how much to enlarge a picture so that an outline of one pixel hides little."""
    return max(1, round(DRAWING_PX / max(height, width)))


def enlarge(
    plane: npt.NDArray[Pixel],  # (H, W) or (H, W, C)
    scale: int,
) -> npt.NDArray[Pixel]:  # (scale * H, scale * W) or (scale * H, scale * W, C)
    """Make every pixel a square of `scale` pixels a side.

    Raises:
        ValueError: The scale is below 1.
    """
    if scale < 1:
        raise ValueError(f"scale: expected at least 1, got {scale}")
    return plane.repeat(scale, axis=0).repeat(scale, axis=1)


def enlarge_smoothly(
    picture: npt.NDArray[np.uint8],  # (H, W, 3)
    scale: int,
) -> npt.NDArray[np.uint8]:  # (scale * H, scale * W, 3)
    """Enlarge a picture by cubic interpolation, to the size that `enlarge` gives.

    Raises:
        ValueError: The scale is below 1, or this is no picture.
    """
    if scale < 1:
        raise ValueError(f"scale: expected at least 1, got {scale}")
    size = check_shape("picture", picture, "H W 3")
    sides = (scale * size["W"], scale * size["H"])
    return cv2.resize(picture, sides, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def inner_border(
    mask: Mask,  # (H, W)
) -> Mask:  # (H, W)
    """Return the outermost pixels of a mask; the edge of the picture is no border."""
    check_shape("mask", mask, "H W")
    plane = mask.astype(np.uint8)
    inside = cv2.erode(plane, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(mask & (inside == 0))
