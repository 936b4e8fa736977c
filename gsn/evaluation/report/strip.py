"""Several pictures of one view in a row, each with its title."""

from collections.abc import Sequence

import cv2
import numpy as np

from gsn.checks import check_shape
from gsn.evaluation.report.pictures import Picture

PANEL_HEIGHT_PX = 288  # small pictures are enlarged to about this
MARGIN_PX = 12
TITLE_HEIGHT_PX = 24
TITLE_SCALE = 0.5
TITLE_GREY = 40
WHITE = 255


def strip(
    panels: Sequence[tuple[str, Picture]],
    smooth: bool = False,
) -> Picture:  # (H, W, 3)
    """Set titled pictures in a row on white, all as high as the highest.

    The highest is enlarged by a whole number if it is small, without smoothing; the others follow,
    so maps of one value per cell show their cells. With `smooth` all pictures are enlarged by
    cubic interpolation, and to no less than the usual height.

    Raises:
        ValueError: There is no panel, or one that is not an RGB picture.
    """
    if not panels:
        raise ValueError("panels: expected at least one picture, got none")
    for title, picture in panels:
        check_shape(f"panel {title!r}", picture, "H W 3")
    highest = max(picture.shape[0] for _, picture in panels)
    if smooth:
        height, method = max(highest, PANEL_HEIGHT_PX), cv2.INTER_CUBIC
    else:
        height = highest * max(1, round(PANEL_HEIGHT_PX / highest))
        method = cv2.INTER_NEAREST_EXACT
    blocks = [_titled(title, _enlarge(picture, height, method)) for title, picture in panels]
    gap = np.full((blocks[0].shape[0], MARGIN_PX, 3), WHITE, np.uint8)
    row = [part for block in blocks for part in (gap, block)]
    return np.pad(
        np.concatenate([*row, gap], axis=1),
        ((0, MARGIN_PX), (0, 0), (0, 0)),
        constant_values=WHITE,
    )


def _enlarge(picture: Picture, height: int, interpolation: int) -> Picture:
    """Bring a picture to a height and keep its proportions."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    resized = cv2.resize(picture, (width, height), interpolation=interpolation)
    return resized.astype(np.uint8)


def _titled(title: str, picture: Picture) -> Picture:
    """Put a title above a picture; a title that is wider than the picture widens the block."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    (text_width, _), below = cv2.getTextSize(title, font, TITLE_SCALE, 1)
    height, width = picture.shape[:2]
    block = np.full((TITLE_HEIGHT_PX + height, max(width, text_width), 3), WHITE, np.uint8)
    block[TITLE_HEIGHT_PX:, :width] = picture
    base = TITLE_HEIGHT_PX - below - 3
    grey = (TITLE_GREY, TITLE_GREY, TITLE_GREY)
    cv2.putText(block, title, (0, base), font, TITLE_SCALE, grey, 1, cv2.LINE_AA)
    return block
