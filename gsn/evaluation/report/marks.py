"""What is marked in a photo with no truth beside it: the strokes of a prompt, a mask in a film."""

import numpy as np

from gsn.checks import check_shape
from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.report.outlines import OUTLINE, Mask, enlarge, inner_border
from gsn.evaluation.report.pictures import OVERLAY_OPACITY, Picture

POSITIVE = (0, 205, 120)
NEGATIVE = (235, 60, 60)
FOUND = (255, 176, 0)  # neither hit nor false alarm: nobody knows


def draw_prompt(
    photo: Picture,  # (H, W, 3), of the view of the prompt
    prompt: PixelPrompt,
    scale: int = 1,
) -> Picture:  # (scale * H, scale * W, 3)
    """Draw positive strokes in green, negative ones in red, a box and the reference as outlines.

    That of the box is green, that of the reference white.

    Raises:
        ValueError: The prompt was drawn on a picture of another size.
    """
    size = check_shape("photo", photo, "H W 3")
    for mask in (prompt.positive, prompt.box):
        if mask is not None:
            check_shape(f"prompt for {prompt.label!r}", mask, "H W", size)
    drawn = enlarge(photo, scale)
    if prompt.negative is not None:
        drawn[enlarge(prompt.negative, scale)] = NEGATIVE
    if prompt.box is not None:
        drawn[inner_border(enlarge(prompt.box, scale))] = POSITIVE
    if prompt.positive is not None:
        drawn[enlarge(prompt.positive, scale)] = POSITIVE
    if prompt.reference is not None:
        drawn[inner_border(enlarge(prompt.reference, scale))] = OUTLINE
    return drawn


def draw_mask(
    photo: Picture,  # (H, W, 3)
    mask: Mask,  # (H, W)
    scale: int = 1,
) -> Picture:  # (scale * H, scale * W, 3)
    """Tint a mask and outline it in white."""
    check_shape("mask", mask, "H W", check_shape("photo", photo, "H W 3"))
    inside = enlarge(mask, scale)
    drawn = enlarge(photo, scale).astype(np.float64)
    drawn[inside] += OVERLAY_OPACITY * (np.array(FOUND) - drawn[inside])
    drawn[inner_border(inside)] = OUTLINE
    return np.round(drawn).astype(np.uint8)
