"""What the colours of pictures mean, as HTML beside the pictures."""

import cv2
import numpy as np

from gsn.evaluation.report.marks import FOUND, NEGATIVE, POSITIVE
from gsn.evaluation.report.pictures import (
    DEPTH_COLOURS,
    FALSE_ALARM,
    HIT,
    MISS,
    SCORE_COLOURS,
)

N_STOPS = 9  # of a gradient
Colour = tuple[int, int, int]


def picture_legend() -> str:
    """Explain masks, score maps, depth and features."""
    return _legend(
        "mask: "
        + _swatch(HIT, "hit")
        + _swatch(FALSE_ALARM, "false alarm")
        + _swatch(MISS, "miss")
        + _swatch(FOUND, "truth unknown"),
        _outline("true outline"),
        f"score map: low {_ramp(SCORE_COLOURS)} high " + _outline("threshold"),
        f"depth: far {_ramp(DEPTH_COLOURS)} near",
        "features: their three main components as red, green and blue, "
        "in one mapping for all pictures of the scene",
    )


def prompt_legend() -> str:
    """Explain the strokes of prompts."""
    return _legend(
        _swatch(POSITIVE, "the object") + _swatch(NEGATIVE, "not the object"),
        _outline("the whole object in this view, where it is known"),
    )


def _legend(*items: str) -> str:
    return f'<ul class="legend">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _swatch(colour: Colour, words: str) -> str:
    return f'<span class="swatch" style="background:{_css(colour)}"></span>{words} '


def _outline(words: str) -> str:
    return f'<span class="swatch outline"></span>{words}'


def _ramp(colour_map: int) -> str:
    levels = np.linspace(0, 255, N_STOPS).round().astype(np.uint8)[None]
    stops = cv2.applyColorMap(levels, colour_map)[0, :, ::-1].tolist()
    colours = ", ".join(_css((red, green, blue)) for red, green, blue in stops)
    return f'<span class="ramp" style="background:linear-gradient(to right, {colours})"></span>'


def _css(colour: Colour) -> str:
    return f"rgb({colour[0]}, {colour[1]}, {colour[2]})"
