import numpy as np
import pytest

from gsn.evaluation.report.outlines import (
    drawing_scale,
    enlarge,
    enlarge_smoothly,
    inner_border,
)


def border_by_loop(mask):
    """Reference: a pixel of the mask is on its border if one of its 8 neighbours is outside."""
    height, width = mask.shape
    border = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        for r in range(max(row - 1, 0), min(row + 2, height)):
            for c in range(max(column - 1, 0), min(column + 2, width)):
                border[row, column] |= not mask[r, c]
    return border


def test_the_border_is_every_pixel_with_a_neighbour_outside():
    mask = np.random.default_rng(0).random((20, 30)) < 0.8
    expected = border_by_loop(mask)
    assert 0 < expected.sum() < mask.sum()
    np.testing.assert_array_equal(inner_border(mask), expected)


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks_have_no_border(value):
    assert not inner_border(np.full((5, 6), value)).any()


def test_every_pixel_becomes_a_square():
    plane = np.arange(6).reshape(2, 3)
    got = enlarge(plane, 3)
    assert got.shape == (6, 9)
    for row in range(6):
        for column in range(9):
            assert got[row, column] == plane[row // 3, column // 3]
    assert enlarge(np.zeros((2, 3, 4)), 3).shape == (6, 9, 4)


def test_what_is_drawn_on_an_enlarged_picture_does_not_touch_the_small_one():
    plane = np.zeros((2, 2))
    enlarge(plane, 1)[:] = 1
    assert not plane.any()


@pytest.mark.parametrize("enlargement", [enlarge, enlarge_smoothly])
def test_a_scale_below_one_is_refused(enlargement):
    with pytest.raises(ValueError, match="scale: expected at least 1, got 0"):
        enlargement(np.zeros((2, 2, 3), np.uint8), 0)


def test_a_smoothly_enlarged_ramp_rises_without_steps():
    ramp = np.broadcast_to(np.arange(0, 200, 20, np.uint8)[None, :, None], (5, 10, 3))
    got = enlarge_smoothly(ramp, 4)
    assert (got.shape, got.dtype) == ((20, 40, 3), np.uint8)
    # Inside, where no border is near, pixel x stands at (x + 0.5) / 4 - 0.5 of the small picture.
    places = (np.arange(8, 32) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(got[10, 8:32, 0], 20 * places, atol=1.0)
    np.testing.assert_array_equal(enlarge_smoothly(ramp, 1), ramp)


@pytest.mark.parametrize(("size", "scale"), [((72, 96), 4), ((189, 252), 2), ((504, 378), 1)])
def test_small_pictures_are_brought_near_384_pixels(size, scale):
    assert drawing_scale(*size) == scale
