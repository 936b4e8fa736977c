import numpy as np
import pytest

from gsn.captures.readers.matches import Features, find_features, match_features, match_views


def blobs(places, size=(80, 100)):
    """Bright round spots, each brightest at a place (x, y) on the image plane."""
    x, y = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    light = sum(np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 32.0) for at in places)
    return np.repeat((40 + 200 * light.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture
def textured():
    """Smooth noise of 120 × 160 pixels."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(120, 160, 3))
    for axis in (0, 1):
        noise = sum(np.roll(noise, k, axis) for k in range(-2, 3)) / 5
    return (128 + 300 * noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("at", [(40.5, 30.5), (60.0, 41.0)])
def test_a_point_lies_where_it_is_on_the_image_plane(at):
    positions = find_features(blobs([at])).positions
    assert len(positions) > 0
    assert np.abs(positions - at).max(axis=1).min() < 0.05


def test_matches_of_a_shifted_picture_are_shifted(textured):
    in_a, in_b = match_views(textured[:100, :140], textured[6:106, 9:149])
    assert len(in_a) > 50
    np.testing.assert_allclose(np.median(in_a - in_b, axis=0), (9, 6), atol=0.01)
    assert (np.abs(in_a - in_b - (9, 6)).max(axis=1) < 1).all()


def test_the_same_matches_come_each_time(textured):
    first, second = (match_views(textured[:, 10:], textured[:, :-10]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (60, 60)])
def test_without_points_there_are_no_matches(size):
    blank = np.full((*size, 3), 90, np.uint8)
    in_a, in_b = match_views(blank, blank)
    assert in_a.shape == in_b.shape == (0, 2)


def describe(positions, descriptors):
    unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Features(positions, unit.astype(np.float32), 500)


def seen_from_two_places(rng, n_points):
    """Random points in two cameras side by side: rows stay, columns tell the depth."""
    depth = rng.uniform(2, 6, n_points)
    in_a = rng.uniform(0, 500, (n_points, 2))
    return in_a, in_a - np.stack([200 / depth, 0 * depth], axis=1)


def test_what_no_single_geometry_explains_is_left_out():
    rng = np.random.default_rng(1)
    in_a, in_b = seen_from_two_places(rng, 60)
    in_b[:12, 1] += rng.uniform(40, 200, 12)
    descriptors = rng.random((60, 128))
    found_a, found_b = match_features(describe(in_a, descriptors), describe(in_b, descriptors))
    right = {tuple(pair) for pair in np.concatenate([in_a, in_b], axis=1)[12:]}
    assert {tuple(pair) for pair in np.concatenate([found_a, found_b], axis=1)} == right


def test_a_point_that_looks_like_two_others_has_no_match():
    rng = np.random.default_rng(2)
    in_a, in_b = seen_from_two_places(rng, 30)
    descriptors = rng.random((30, 128))
    twice = descriptors.copy()
    twice[1] = twice[0]
    found_a, _ = match_features(describe(in_a, descriptors), describe(in_b, twice))
    assert {tuple(at) for at in found_a} == {tuple(at) for at in in_a[2:]}


def test_a_handful_of_matches_is_none():
    rng = np.random.default_rng(3)
    in_a, in_b = seen_from_two_places(rng, 7)
    descriptors = rng.random((7, 128))
    found_a, found_b = match_features(describe(in_a, descriptors), describe(in_b, descriptors))
    assert len(found_a) == len(found_b) == 0
