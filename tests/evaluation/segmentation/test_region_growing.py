import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gsn.evaluation.segmentation.region_growing import GrowConfig, grow, grow_region

CONFIG = GrowConfig(feature_sigma=0.5, distance_sigma=5.0, colour_sigma=0.1, rounds=50)


def share_by_loop(region, features, rgb, config, row, column):
    """Reference: the weighted share of the region in the window of one pixel."""
    inside = total = 0.0
    height, width = region.shape
    for i in range(max(row - 1, 0), min(row + 2, height)):
        for j in range(max(column - 1, 0), min(column + 2, width)):
            f, g = (x / np.linalg.norm(x) for x in (features[row, column], features[i, j]))
            weight = math.exp(-((f - g) ** 2).sum() / config.feature_sigma)
            weight *= math.exp(-(abs(i - row) + abs(j - column)) / config.distance_sigma)
            colours = ((rgb[row, column] - rgb[i, j]) ** 2).sum()
            weight *= math.exp(-colours / config.colour_sigma)
            inside += weight * region[i, j]
            total += weight
    return inside / total


def grow_by_loop(seeds, features, rgb, config):
    """Reference: pixel by pixel, round by round."""
    region = seeds.copy()
    for _ in range(config.rounds):
        joined = region.copy()
        for place in np.ndindex(region.shape):
            joined[place] |= share_by_loop(region, features, rgb, config, *place) >= 0.1
        region = joined
    found = region.astype(float)
    for place in zip(*np.nonzero(~region), strict=True):
        found[place] = share_by_loop(region, features, rgb, config, *place)
    return found


def random_view(seed, height=8, width=10, channels=3):
    """Smooth features and colours, so that a region neither stays nor takes all."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / 3.0
    angles = rows[..., None] * rng.normal(size=channels) + columns[..., None] * rng.normal(
        size=channels
    )
    features = np.cos(angles) + 0.3 * rng.normal(size=angles.shape)
    rgb = np.clip(
        0.5 + 0.5 * np.sin(angles[..., :3]) + 0.1 * rng.normal(size=(*rows.shape, 3)), 0, 1
    )
    return features, rgb, rng.random((height, width)) < 0.08


def halves(width=12, edge=6):
    """A view of one colour, whose left and right half have orthogonal features."""
    features = torch.zeros(8, width, 2)
    features[:, :edge, 0] = 1.0
    features[:, edge:, 1] = 1.0
    return features, torch.full((8, width, 3), 0.5)


def seed_at(row, column, shape=(8, 12)):
    seeds = np.zeros(shape, bool)
    seeds[row, column] = True
    return seeds


@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_regions_match_a_loop_over_pixels(seed, rounds):
    features, rgb, seeds = random_view(seed)
    config = GrowConfig(feature_sigma=0.3, distance_sigma=5.0, colour_sigma=0.2, rounds=rounds)
    expected = grow_by_loop(seeds, features, rgb, config)
    found = grow_region(seeds, torch.from_numpy(features), torch.from_numpy(rgb), config)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float64
    if rounds == 5:  # of all pixels some joined, and some did not
        assert seeds.sum() < (found == 1).sum() < found.size


def test_a_single_neighbour_has_the_share_worked_out_by_hand():
    features, rgb = torch.ones(3, 3, 2), torch.zeros(3, 3, 3)
    config = GrowConfig(feature_sigma=0.5, distance_sigma=1.0, colour_sigma=0.1, rounds=0)
    found = grow_region(seed_at(0, 1, (3, 3)), features, rgb, config)
    e = math.exp
    assert found[0, 1] == 1
    assert found[1, 1] == pytest.approx(e(-1) / (1 + 4 * e(-1) + 4 * e(-2)))
    assert found[1, 0] == pytest.approx(e(-2) / (1 + 3 * e(-1) + 2 * e(-2)))
    assert found[0, 0] == pytest.approx(e(-1) / (1 + 2 * e(-1) + e(-2)))
    assert found[2].tolist() == [0, 0, 0]


def test_a_region_fills_what_looks_alike_and_stops_at_an_edge_of_features():
    features, rgb = halves()
    found = grow_region(seed_at(3, 1), features, rgb, CONFIG)
    np.testing.assert_array_equal(found[:, :6], 1)
    assert (found[:, 6] > 0).all() and found[:, 6].max() < 0.1
    np.testing.assert_array_equal(found[:, 7:], 0)


def test_a_region_stops_at_an_edge_of_colours_where_features_are_alike():
    rgb = torch.zeros(8, 12, 3)
    rgb[:, 6:] = 1.0
    found = grow_region(seed_at(3, 1), torch.ones(8, 12, 2), rgb, CONFIG)
    assert (found[:, :6] == 1).all() and found[:, 6:].max() < 0.1
    blind = GrowConfig(feature_sigma=0.5, distance_sigma=5.0, colour_sigma=1e6, rounds=50)
    assert (grow_region(seed_at(3, 1), torch.ones(8, 12, 2), rgb, blind) == 1).all()


def test_a_region_grows_by_at_most_one_pixel_a_round():
    features, rgb = halves(edge=12)
    for rounds in range(4):
        config = GrowConfig(feature_sigma=0.5, distance_sigma=5.0, colour_sigma=0.1, rounds=rounds)
        rows, columns = np.nonzero(grow_region(seed_at(4, 5), features, rgb, config) == 1)
        assert np.maximum(abs(rows - 4), abs(columns - 5)).max() == rounds


def test_a_pixel_unlike_all_of_its_neighbours_stays_out():
    features, rgb = halves(edge=12)
    features = features.clone()
    features[4, 6] = torch.tensor([-1.0, 0.0])
    found = grow_region(seed_at(3, 1), features, rgb, CONFIG)
    assert found[4, 6] < 0.1
    assert (np.delete(found.ravel(), 4 * 12 + 6) == 1).all()


def test_the_length_of_features_does_not_count():
    features, rgb, seeds = random_view(3)
    lengths = np.random.default_rng(0).uniform(0.1, 9, (8, 10, 1))
    first, second = (
        grow_region(seeds, torch.from_numpy(x), torch.from_numpy(rgb), CONFIG)
        for x in (features, features * lengths)
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_without_seeds_nothing_grows_and_with_all_nothing_changes():
    features, rgb = halves()
    assert (grow_region(np.zeros((8, 12), bool), features, rgb, CONFIG) == 0).all()
    assert (grow_region(np.ones((8, 12), bool), features, rgb, CONFIG) == 1).all()


def test_a_grown_pixel_is_spared_half_of_what_it_lacks():
    features, rgb = halves()
    scores = np.linspace(-0.9, -0.6, 96).reshape(8, 12)
    scores[3, 1] = -0.1
    found = grow(scores, features, rgb, confident=-0.2, config=CONFIG)
    assert found[3, 1] == -0.1  # above the confident level nothing is added
    grown = np.zeros((8, 12), bool)
    grown[:, :6] = True
    grown[3, 1] = False
    np.testing.assert_allclose(found[grown], (scores[grown] - 0.2) / 2)
    np.testing.assert_array_equal(found[:, 7:], scores[:, 7:])


def test_the_order_of_scores_stays_among_grown_pixels_and_among_the_others():
    features, rgb = halves()
    scores = np.random.default_rng(0).uniform(-1, -0.3, (8, 12))
    scores[3, 1] = 0.0
    found = grow(scores, features, rgb, confident=-0.1, config=CONFIG)
    for part in (np.s_[:, :6], np.s_[:, 7:]):
        np.testing.assert_array_equal(
            found[part].argsort(axis=None), scores[part].argsort(axis=None)
        )
    assert (found >= scores).all()


def test_without_a_confident_pixel_scores_stay_as_they_are():
    features, rgb = halves()
    scores = np.random.default_rng(0).uniform(-1, -0.3, (8, 12))
    np.testing.assert_array_equal(grow(scores, features, rgb, -0.2, CONFIG), scores)


def test_a_view_of_another_size_is_refused():
    features, rgb = halves()
    with pytest.raises(ValueError, match=r"rgb: expected shape \(8 12 3\), got \(8, 11, 3\)"):
        grow(np.zeros((8, 12)), features, rgb[:, :11], 0.0, CONFIG)


@pytest.mark.parametrize("settings", [(0.0, 5.0, 0.1, 9), (0.5, -1.0, 0.1, 9), (0.5, 5.0, 0.1, -1)])
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValidationError):
        GrowConfig(*settings)
