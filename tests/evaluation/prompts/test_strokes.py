import cv2
import numpy as np
import pytest

from gsn.evaluation.prompts.strokes import draw_stroke


def ring_with_bar() -> np.ndarray:
    """Draw a large ring, open to one side, and a small bar apart from it."""
    rows, columns = np.mgrid[:60, :80]
    radius = np.hypot(rows - 30, columns - 35)
    ring = (radius > 12) & (radius < 26) & ~((columns > 35) & (abs(rows - 30) < 5))
    return ring | ((columns > 70) & (columns < 76) & (rows > 10) & (rows < 30))


def n_parts(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


@pytest.mark.parametrize("seed", range(8))
def test_a_stroke_is_one_line_inside_the_largest_part(seed):
    mask = ring_with_bar()
    stroke = draw_stroke(mask, seed, width_px=3)
    assert stroke.dtype == bool and stroke.shape == mask.shape
    assert not (stroke & ~mask).any()
    assert n_parts(stroke) == 1
    assert not stroke[:, 68:].any()


@pytest.mark.parametrize("seed", range(8))
def test_a_stroke_goes_from_one_far_end_to_another_along_the_middle(seed):
    mask = np.zeros((30, 100), bool)
    mask[5:26, 5:95] = True
    rows, columns = np.nonzero(draw_stroke(mask, seed, width_px=3))
    assert columns.max() - columns.min() > 45  # of 90
    halfway = abs(columns - (columns.min() + columns.max()) / 2) < 8
    assert (abs(rows[halfway] - 15) <= 3).all()


def test_a_stroke_keeps_off_the_border_of_a_wide_object():
    mask = np.zeros((40, 40), bool)
    mask[4:36, 4:36] = True
    assert not (draw_stroke(mask, 0, width_px=3) & ~np.pad(mask[6:34, 6:34], 6)).any()


def test_the_width_is_that_asked_for():
    mask = np.zeros((40, 200), bool)
    mask[5:35] = True
    heights = draw_stroke(mask, 0, width_px=5).sum(axis=0)
    assert np.median(heights[heights > 0]) == 5


def test_a_seed_makes_one_stroke_and_another_seed_another():
    mask = ring_with_bar()
    np.testing.assert_array_equal(draw_stroke(mask, 3, 3), draw_stroke(mask, 3, 3))
    strokes = {draw_stroke(mask, seed, 3).tobytes() for seed in range(5)}
    assert len(strokes) > 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (1, 9)])
@pytest.mark.parametrize("corner", [(0, 0), (7, 3)])
def test_a_tiny_object_gets_a_stroke_of_at_least_one_pixel(shape, corner):
    mask = np.zeros((12, 15), bool)
    mask[corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]] = True
    stroke = draw_stroke(mask, 0, width_px=5)
    assert stroke.any() and not (stroke & ~mask).any()


def test_an_object_that_fills_the_picture_gets_a_stroke():
    stroke = draw_stroke(np.ones((20, 30), bool), 0, width_px=3)
    assert 10 < stroke.sum() < 200


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="nothing to draw a stroke in"):
        draw_stroke(np.zeros((5, 5), bool), 0, 3)


def test_a_mask_of_labels_is_refused():
    with pytest.raises(ValueError, match="mask: expected a boolean array, got uint8"):
        draw_stroke(np.ones((5, 5), np.uint8), 0, 3)


def test_a_line_without_width_is_refused():
    with pytest.raises(ValueError, match="width_px: expected at least 1, got 0"):
        draw_stroke(np.ones((5, 5), bool), 0, 0)
