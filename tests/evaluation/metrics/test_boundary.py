import math

import numpy as np
import pytest

from gsn.evaluation.metrics.boundary import DAVIS_TOLERANCE, boundary_f, boundary_tolerance_px

EMPTY = np.zeros((12, 16), bool)
FULL = ~EMPTY


def box(top, bottom, left, right, shape=(12, 16)):
    """A rectangle of rows top..bottom - 1 and columns left..right - 1."""
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def boundary_by_loop(mask):
    """Reference: pixels of the mask with a side neighbour in the picture that is not of it."""
    height, width = mask.shape
    found = []
    for r, c in zip(*np.nonzero(mask), strict=True):
        sides = [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
        inside = [(y, x) for y, x in sides if 0 <= y < height and 0 <= x < width]
        if not all(mask[place] for place in inside):
            found.append((r, c))
    return found


def f_by_loop(predicted, truth, tolerance):
    """Reference: every boundary pixel against every other."""

    def share(some, others):
        near = [min(math.dist(a, b) for b in others) <= tolerance for a in some]
        return sum(near) / len(near)

    found, wanted = boundary_by_loop(predicted), boundary_by_loop(truth)
    precision, recall = share(found, wanted), share(wanted, found)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, math.sqrt(5), 3.0])
def test_the_score_matches_a_loop_over_boundary_pixels(tolerance):
    rng = np.random.default_rng(0)
    for share in (0.02, 0.1, 0.5, 0.9):
        predicted, truth = rng.random((2, 12, 16)) < share
        got = boundary_f(predicted, truth, tolerance)
        assert got == pytest.approx(f_by_loop(predicted, truth, tolerance))


def test_a_square_of_5_within_one_of_7_is_within_one_diagonal_step():
    # Boundaries of 16 and 24 pixels, one ring apart. The inner one is 1 away throughout; of the
    # outer one only the 4 corners are further, √2.
    inner, outer = box(3, 8, 3, 8), box(2, 9, 2, 9)
    assert boundary_f(inner, outer, 0.9) == 0.0
    assert boundary_f(inner, outer, 1.0) == pytest.approx(2 * (20 / 24) / (1 + 20 / 24))
    assert boundary_f(inner, outer, math.sqrt(2)) == 1.0


def test_precision_and_recall_are_told_apart_but_weigh_the_same():
    # Two of the three predicted pixels are right and so is the only true one: P 2/3, R 1.
    truth, predicted = box(5, 6, 5, 6), box(5, 6, 4, 6) | box(10, 11, 14, 15)
    assert boundary_f(predicted, truth, 1.0) == pytest.approx(0.8)
    assert boundary_f(truth, predicted, 1.0) == pytest.approx(0.8)


def test_the_edge_of_the_picture_is_no_boundary():
    # Left half: 12 boundary pixels, in column 7 alone. Shifted by 2 it matches within 2, not 1.
    left, further = box(0, 12, 0, 8), box(0, 12, 0, 10)
    assert boundary_f(left, further, 1.9) == 0.0
    assert boundary_f(left, further, 2.0) == 1.0
    assert boundary_f(left, left & further, 0.0) == 1.0


def test_holes_have_a_boundary():
    solid = box(2, 10, 2, 12)
    ring = solid & ~box(5, 7, 5, 9)
    # The outline of 32 pixels agrees; 12 more lie around the hole, side by side with it.
    assert boundary_f(solid, ring, 0.0) == pytest.approx(2 * (32 / 44) / (1 + 32 / 44))


def test_masks_without_boundary_are_right_only_if_they_are_equal():
    assert boundary_f(EMPTY, EMPTY, 1.0) == 1.0
    assert boundary_f(FULL, FULL, 1.0) == 1.0
    assert boundary_f(EMPTY, FULL, 1.0) == 0.0
    assert boundary_f(FULL, EMPTY, 1.0) == 0.0


@pytest.mark.parametrize("without", [EMPTY, FULL])
def test_one_mask_without_boundary_has_0(without):
    some = box(2, 5, 2, 5)
    assert boundary_f(without, some, 99.0) == 0.0
    assert boundary_f(some, without, 99.0) == 0.0


def test_the_tolerance_of_davis_is_8_pixels_in_1000_of_the_diagonal():
    assert boundary_tolerance_px(600, 800, DAVIS_TOLERANCE) == pytest.approx(8.0)
    assert boundary_tolerance_px(480, 854, DAVIS_TOLERANCE) == pytest.approx(7.8372, abs=1e-4)


def test_the_tolerance_is_never_below_a_pixel():
    assert boundary_tolerance_px(30, 40, DAVIS_TOLERANCE) == 1.0
    assert boundary_tolerance_px(600, 800, 0.0) == 1.0


@pytest.mark.parametrize("share", [-0.1, 2.0, math.nan])
def test_a_tolerance_that_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="share: expected a share of the diagonal"):
        boundary_tolerance_px(600, 800, share)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance_px: expected at least 0, got -1"):
        boundary_f(FULL, FULL, -1)


def test_masks_that_are_not_boolean_or_not_of_one_size_are_refused():
    with pytest.raises(ValueError, match="predicted: expected a boolean array, got uint8"):
        boundary_f(FULL.astype(np.uint8), FULL, 1.0)
    with pytest.raises(ValueError, match=r"truth: expected shape \(12 16\), got \(16, 12\)"):
        boundary_f(FULL, FULL.T, 1.0)
