import math

import pytest
import torch

from demo_teachers.crops import (
    Crops,
    cut,
    draw_crops,
    follow,
    normalise,
    sample_cells,
    vary_colours,
)
from demo_teachers.stream import OUTSIDE

CPU = torch.device("cpu")
ASPECT = 4 / 3
WHOLE = ((0.0, 0.0), (1.0, 1.0))
MIRRORED = ((0.0, 0.0), (-1.0, 1.0))


def crops_of(*centres_halves):
    return Crops(*(torch.tensor(part) for part in zip(*centres_halves, strict=True)))


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def pictures(n, height, width):
    return (noise(n, 3, height, width) * 255).to(torch.uint8)


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    return draw_crops(2000, (0.04, 0.25), ASPECT, CPU)


def test_cells_lie_where_hand_calculation_puts_them():
    # From x = 0.1 to 0.9 mirrored, from y = -0.6 to 0.2: quarters of the way lie at ± 1/2.
    grid = crops_of(((0.5, -0.2), (-0.4, 0.4))).grid(2)
    expected = [[(0.7, -0.4), (0.3, -0.4)], [(0.7, 0.0), (0.3, 0.0)]]
    torch.testing.assert_close(grid[0], torch.tensor(expected))


def test_locating_undoes_the_grid(drawn):
    middles = (torch.arange(3) + 0.5) / 3 * 2 - 1
    got = drawn.locate(drawn.grid(3))
    torch.testing.assert_close(got[..., 0], middles.expand(2000, 3, 3), rtol=0, atol=2e-5)
    torch.testing.assert_close(got[..., 1], middles[:, None].expand(2000, 3, 3), rtol=0, atol=2e-5)


def test_a_crop_of_the_whole_picture_gives_means_of_its_blocks():
    images = pictures(2, 12, 12)
    got = cut(images, crops_of(WHOLE, MIRRORED), 6)
    for row in range(6):
        for column in range(6):
            block = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].float() / 255
            mean = block.mean(dim=(2, 3))
            torch.testing.assert_close(got[0, :, row, column], mean[0])
            torch.testing.assert_close(got[1, :, row, 5 - column], mean[1])  # mirrored


def test_a_crop_of_a_quarter_gives_that_quarter():
    images = pictures(1, 16, 24)
    lower_left = crops_of(((-0.5, 0.5), (0.5, 0.5)))
    got = cut(images, lower_left, 2)  # its four samples a pixel lie between four pixels each
    samples = []
    for y in (9, 11, 13, 15):  # pixels 8 to 16, in borders between pixels: at 9, 11, ...
        for x in (1.5, 4.5, 7.5, 10.5):  # columns 0 to 12
            left, part = int(x - 0.5), (x - 0.5) % 1
            rows = images[0, :, y - 1 : y + 1].float().mean(dim=1) / 255
            samples.append(rows[:, left] * (1 - part) + rows[:, left + 1] * part)
    grid = torch.stack(samples, dim=1).reshape(3, 2, 2, 2, 2)  # (C, row, in row, column, in column)
    torch.testing.assert_close(got[0], grid.mean(dim=(2, 4)))


def test_drawn_crops_stay_inside_and_have_the_asked_area(drawn):
    half = drawn.half.abs()
    assert (drawn.centre.abs() + half <= 1 + 1e-6).all()
    area = half.prod(dim=1)  # of the picture, whose sides are 2
    assert 0.04 - 1e-6 <= area.min() < 0.05
    assert 0.24 < area.max() <= 0.25 + 1e-6
    lean = half[:, 0] * ASPECT / half[:, 1]  # width over height in pixels
    assert 3 / 4 - 1e-4 <= lean.min() < 0.77
    assert 1.3 < lean.max() <= 4 / 3 + 1e-4
    assert 0.45 < (drawn.half[:, 0] < 0).float().mean() < 0.55
    assert (drawn.half[:, 1] > 0).all()


def test_large_crops_are_held_back_by_the_border_of_the_picture():
    torch.manual_seed(0)
    crops = draw_crops(500, (0.9, 1.0), ASPECT, CPU)
    assert (crops.centre.abs() + crops.half.abs() <= 1 + 1e-6).all()
    assert crops.half.abs().prod(dim=1).max() <= 1
    assert crops.half.abs().prod(dim=1).min() > 0.5


def test_unchanged_colours_are_kept_or_blurred():
    torch.manual_seed(1)
    rgb = noise(40, 3, 5, 6)
    got = vary_colours(rgb, 0.0)
    n_blurred = 0
    for one, out in zip(rgb, got, strict=True):
        soft = torch.empty_like(one)
        for row in range(5):
            for column in range(6):
                around = one[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
                soft[:, row, column] = around.mean(dim=(1, 2))
        is_kept = torch.allclose(out, one, atol=1e-6)
        assert is_kept or torch.allclose(out, soft, atol=1e-6)
        n_blurred += not is_kept
    assert 3 <= n_blurred <= 20  # a quarter


def test_varied_colours_differ_from_picture_to_picture_and_stay_in_range():
    torch.manual_seed(0)
    got = vary_colours(noise(1, 3, 8, 8).expand(20, -1, -1, -1), 0.7)
    assert got.min() >= 0
    assert got.max() <= 1
    assert got.mean(dim=(1, 2, 3)).std() > 0.05


def test_normalised_colours_match_hand_calculation():
    rgb = torch.tensor([0.485, 0.456 + 0.224, 0.0]).reshape(1, 3, 1, 1)
    expected = torch.tensor([0.0, 1.0, -0.406 / 0.225])
    torch.testing.assert_close(normalise(rgb).flatten(), expected, rtol=1e-5, atol=1e-6)


def value_by_loop(values, x, y):
    """Reference: bilinear between middles of cells (C, h, w), the outer ones up to the border."""
    _, height, width = values.shape
    column = min(max((x + 1) / 2 * width - 0.5, 0), width - 1)
    row = min(max((y + 1) / 2 * height - 0.5, 0), height - 1)
    total = torch.zeros(len(values))
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            part = (1 - abs(row - i)) * (1 - abs(column - j))
            if part > 0:
                total += part * values[:, i, j]
    return total


def test_fetched_cells_match_a_loop():
    values, at = noise(2, 3, 4, 5), noise(2, 6, 7, 2, seed=1) * 2.6 - 1.3
    found, inside = sample_cells(values, at)
    for b in range(2):
        for i in range(6):
            for j in range(7):
                x, y = at[b, i, j].tolist()
                assert bool(inside[b, i, j]) == (-1 < x < 1 and -1 < y < 1)
                expected = value_by_loop(values[b], x, y)
                torch.testing.assert_close(found[b, :, i, j], expected, rtol=1e-4, atol=1e-5)
    assert 0.3 < inside.float().mean() < 0.9


def test_followed_points_come_from_the_nearest_cell_of_the_warp():
    warp, points = noise(2, 4, 6, 2) * 2 - 1, noise(2, 5, 5, 2, seed=1) * 2 - 1
    got = follow(warp.half(), points)
    for b in range(2):
        for i in range(5):
            for j in range(5):
                x, y = points[b, i, j].tolist()
                column, row = math.floor((x + 1) / 2 * 6), math.floor((y + 1) / 2 * 4)
                assert torch.equal(got[b, i, j], warp.half()[b, row, column].float())


def test_what_the_partner_does_not_show_is_outside_of_each_of_its_crops(drawn):
    hidden = torch.full((2000, 2, 2, 2), OUTSIDE)
    points = follow(hidden, drawn.grid(2))
    _, inside = sample_cells(torch.zeros(2000, 1, 3, 3), drawn.locate(points))
    assert not inside.any()
