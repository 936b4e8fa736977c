from collections import Counter

import pytest
import torch

from gsn.geometry.source_views import draw_source_views, nearest_views

ROW = torch.stack([torch.tensor([float(x), 0.0, 0.0]) for x in range(40)])  # nearest: 0, 1, 2, …


def draw(n_draws, n_views, spread, neighbourhood_max, centres=ROW):
    generator = torch.Generator().manual_seed(0)
    settings = (n_views, spread, neighbourhood_max, generator)
    return [draw_source_views(centres[0] - 0.1, centres, *settings) for _ in range(n_draws)]


def test_the_nearest_come_first():
    centres = torch.tensor([[3.0, 0, 0], [0, 0, -1], [0, 2, 0], [5, 5, 5]])
    assert nearest_views(torch.zeros(3), centres, 3).tolist() == [1, 2, 0]


def test_equally_near_views_keep_their_order():
    centres = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1], [0.5, 0, 0]])
    assert nearest_views(torch.zeros(3), centres, 4).tolist() == [3, 0, 1, 2]


def test_there_are_never_more_views_than_cameras():
    assert len(nearest_views(torch.zeros(3), ROW[:4], 10)) == 4
    assert all(len(views) <= 4 for views in draw(50, 10, 2, 20, ROW[:4]))


def test_the_number_of_views_is_within_the_spread_and_takes_each_value():
    counts = Counter(len(views) for views in draw(2000, 10, 2, 20))
    assert set(counts) == {8, 9, 10, 11, 12}
    # 8 and 9 in a fifth of the draws each; from the smallest neighbourhood at most 10 are drawn.
    assert counts[8] / 2000 == pytest.approx(0.2, abs=0.03)
    assert counts[10] / 2000 == pytest.approx(0.2 + 0.4 * 0.2, abs=0.03)
    assert counts[12] / 2000 == pytest.approx(0.2 * 0.8, abs=0.03)
    mean = sum(count * number for count, number in counts.items()) / 2000
    assert mean == pytest.approx(9.9, abs=0.1)


def test_a_spread_beyond_the_number_still_leaves_one_view():
    counts = Counter(len(views) for views in draw(400, 2, 5, 20))
    assert set(counts) == {1, 2, 3, 4, 5, 6}


def test_no_view_is_drawn_twice():
    for views in draw(200, 10, 2, 20):
        assert len(set(views.tolist())) == len(views)


def test_sources_come_from_one_two_or_three_times_the_neighbourhood():
    # With one source each: rank 0 from any neighbourhood, rank 1 from two or three, rank 2 from 3.
    ranks = Counter(int(views[0]) for views in draw(3000, 1, 0, 20))
    assert set(ranks) == {0, 1, 2}
    assert ranks[0] / 3000 == pytest.approx(0.2 + 0.45 / 2 + 0.35 / 3, abs=0.03)
    assert ranks[1] / 3000 == pytest.approx(0.45 / 2 + 0.35 / 3, abs=0.03)
    assert ranks[2] / 3000 == pytest.approx(0.35 / 3, abs=0.03)


def test_no_source_is_farther_than_the_largest_neighbourhood():
    drawn = {int(view) for views in draw(400, 10, 2, 14) for view in views}
    assert drawn == set(range(14))


def test_the_generator_alone_decides():
    again = [views.tolist() for views in draw(5, 10, 2, 20)]
    torch.manual_seed(123)
    assert [views.tolist() for views in draw(5, 10, 2, 20)] == again
    assert len({tuple(views) for views in again}) == 5
