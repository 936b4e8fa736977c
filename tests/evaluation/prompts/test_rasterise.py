import math

import cv2
import numpy as np
import pytest

from gsn.evaluation.prompts.rasterise import (
    draw_lines,
    draw_points,
    draw_rectangle,
    is_inside,
    marked_pixels,
    resize_area,
    resize_strokes,
    thicken,
)

SIZE = (20, 30)


def marked(mask):
    """Pixels of a mask as (x, y)."""
    return [(int(column), int(row)) for row, column in np.argwhere(mask)]


def distance_to_segment(x, y, start, end):
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = (x - start[0]) * dx + (y - start[1]) * dy
    t = min(max(along / (dx * dx + dy * dy), 0), 1)
    return math.hypot(x - start[0] - t * dx, y - start[1] - t * dy)


def test_a_point_marks_the_pixel_that_it_lies_in():
    assert marked(draw_points([(4, 7)], SIZE)) == [(4, 7)]
    assert marked(draw_points([(4.4, 6.6)], SIZE)) == [(4, 7)]
    assert marked(draw_points([(-0.5, 19.4), (29.4, -0.4)], SIZE)) == [(29, 0), (0, 19)]


def test_points_outside_of_the_image_are_left_out():
    outside = [(-0.6, 3), (29.5, 3), (3, -0.6), (3, 19.5), (1e6, -1e6)]
    assert not draw_points(outside, SIZE).any()
    assert [is_inside(point, SIZE) for point in [*outside, (29.4, 19.4)]] == 5 * [False] + [True]


@pytest.mark.parametrize("seed", range(20))
def test_a_thin_line_follows_the_segment_without_a_gap(seed):
    ends = np.random.default_rng(seed).uniform((-0.5, -0.5), (29.5, 19.5), (2, 2))
    drawn = draw_lines([ends.tolist()], 1, SIZE)
    for x, y in marked(drawn):
        assert distance_to_segment(x, y, *ends) <= math.sqrt(0.5)
    assert {tuple(np.floor(end + 0.5)) for end in ends} <= set(marked(drawn))
    assert cv2.connectedComponents(drawn.astype(np.uint8), connectivity=8)[0] == 2  # and ground


@pytest.mark.parametrize(("width", "rows"), [(1, [10]), (3, [9, 10, 11]), (4, [8, 9, 10, 11, 12])])
def test_a_line_has_the_width_asked_for_or_the_odd_one_above(width, rows):
    drawn = draw_lines([[(5, 10), (24, 10)]], width, SIZE)
    assert np.nonzero(drawn[:, 15])[0].tolist() == rows


def test_lines_run_through_all_their_points_and_one_point_is_a_dot():
    lines = [[(2, 2), (2, 8), (10, 8)], [(20.2, 12.4)]]
    expected = {(2, y) for y in range(2, 9)} | {(x, 8) for x in range(2, 11)} | {(20, 12)}
    assert set(marked(draw_lines(lines, 1, SIZE))) == expected


def test_a_line_is_cut_off_at_the_border_of_the_image():
    assert marked(draw_lines([[(-1000, 5), (2, 5)]], 1, SIZE)) == [(0, 5), (1, 5), (2, 5)]
    assert not draw_lines([[(-1000, 5), (-4, 5)]], 3, SIZE).any()
    assert draw_lines([[(-1e6, -1e6), (1e6, 1e6)]], 1, SIZE).sum() == 20


def test_a_thick_line_beside_the_image_reaches_into_it():
    assert set(marked(draw_lines([[(5, -2), (9, -2)]], 7, SIZE))) >= {(x, 0) for x in range(5, 10)}


def test_both_corners_belong_to_a_rectangle():
    assert marked(draw_rectangle((2, 3, 4, 4), SIZE)) == [(x, y) for y in (3, 4) for x in (2, 3, 4)]
    assert marked(draw_rectangle((2.2, 3, 1.8, 3), SIZE)) == [(2, 3)]


def test_a_rectangle_is_cut_off_at_the_border_of_the_image():
    assert marked(draw_rectangle((-9, -9, 1, 0), SIZE)) == [(0, 0), (1, 0)]
    assert marked(draw_rectangle((29, 18.6, 500, 500), SIZE)) == [(29, 19)]
    for beyond in [(-9, 2, -3, 5), (2, -9, 5, -1), (2, -9, 5, -4), (30, 2, 40, 5), (2, 20, 5, 30)]:
        assert not draw_rectangle(beyond, SIZE).any(), beyond


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_a_thick_line_is_all_within_half_its_width(width):
    line = draw_lines([[(8, 6), (17, 11)]], 1, SIZE)
    radius = (width if width % 2 else width + 1) / 2
    expected = [
        (x, y)
        for y, x in np.ndindex(SIZE)
        if min(math.hypot(x - i, y - j) for i, j in marked(line)) < radius
    ]
    assert marked(thicken(line, width)) == expected


def test_a_picture_with_alpha_is_drawn_where_it_is_not_transparent():
    picture = np.full((2, 3, 4), 255, np.uint8)
    picture[..., 3] = [[0, 1, 255], [0, 0, 0]]
    assert marked(marked_pixels(picture)) == [(1, 0), (2, 0)]


def test_a_picture_without_alpha_is_drawn_where_it_is_not_black():
    grey = np.array([[0, 1, 255], [0, 0, 0]], np.uint16)
    assert marked(marked_pixels(grey)) == [(1, 0), (2, 0)]
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[1, 2, 1] = 9
    assert marked(marked_pixels(colour)) == [(2, 1)]


@pytest.mark.parametrize("size", [(10, 15), (7, 11), (1, 1), (20, 30), (40, 60), (33, 45), (20, 7)])
def test_every_pixel_of_a_stroke_goes_to_the_one_that_holds_its_centre(size):
    for row, column in [(0, 0), (19, 29), (7, 13), (12, 4)]:
        alone = draw_points([(column, row)], SIZE)
        resized = resize_strokes(alone, size)
        assert resized.shape == size and resized.any()
        rows, columns = np.nonzero(resized)
        for old, new, n_old, n_new in ((row, rows, 20, size[0]), (column, columns, 30, size[1])):
            if n_new < n_old:
                centre = (old + 0.5) * n_new / n_old - 0.5
                assert set(new) == {math.floor(centre + 0.5)}
            else:
                inside = [j for j in range(n_new) if int((j + 0.5) * n_old / n_new) == old]
                assert set(new) == set(inside)


def test_a_smaller_picture_is_marked_where_any_pixel_of_the_block_was():
    rng = np.random.default_rng(0)
    mask = rng.random((12, 20)) < 0.1
    blocks = mask.reshape(3, 4, 5, 4).any(axis=(1, 3))
    np.testing.assert_array_equal(resize_strokes(mask, (3, 5)), blocks)


def test_an_area_fills_what_it_covers_more_than_half_of():
    rng = np.random.default_rng(0)
    mask = rng.random((12, 20)) < 0.5
    share = mask.reshape(3, 4, 5, 4).mean(axis=(1, 3))
    got = resize_area(mask, (3, 5))
    np.testing.assert_array_equal(got[share != 0.5], (share > 0.5)[share != 0.5])
    np.testing.assert_array_equal(resize_area(mask, (24, 40)), np.kron(mask, np.ones((2, 2))) > 0)


def test_an_area_too_thin_for_that_is_not_lost():
    mask = draw_lines([[(0, 5), (29, 5)]], 1, SIZE)
    assert marked(resize_area(mask, (5, 6))) == [(x, 1) for x in range(6)]
