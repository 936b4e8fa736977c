import re

import cv2
import numpy as np

from gsn.evaluation.report.legends import picture_legend, prompt_legend
from gsn.evaluation.report.marks import FOUND, NEGATIVE, POSITIVE
from gsn.evaluation.report.pictures import FALSE_ALARM, HIT, MISS, colour_scores


def swatches(html):
    """Words by the colour that stands before them."""
    found = re.findall(r'background:rgb\((\d+), (\d+), (\d+)\)"></span>([\w ]+?) ?<', html)
    return {tuple(map(int, colour)): words for *colour, words in found}


def ramps(html):
    gradients = re.findall(r"linear-gradient\(to right, (.*?)\)\"", html)
    return [np.array(re.findall(r"\d+", g), int).reshape(-1, 3) for g in gradients]


def test_the_legend_shows_the_colours_of_masks():
    assert swatches(picture_legend()) == {
        HIT: "hit",
        FALSE_ALARM: "false alarm",
        MISS: "miss",
        FOUND: "truth unknown",
    }
    assert swatches(prompt_legend()) == {POSITIVE: "the object", NEGATIVE: "not the object"}


def test_ramps_run_as_the_pictures_are_coloured():
    scores, depth = ramps(picture_legend())
    np.testing.assert_array_equal(scores[[0, -1]], colour_scores(np.array([[0.0, 1.0]]), 0, 1)[0])
    ends = cv2.applyColorMap(np.array([[0, 255]], np.uint8), cv2.COLORMAP_TURBO)[0, :, ::-1]
    np.testing.assert_array_equal(depth[[0, -1]], ends)  # far, near
