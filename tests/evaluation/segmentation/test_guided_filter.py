import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gsn.evaluation.segmentation.guided_filter import GuidedConfig, guided_filter


def window(array, row, column, radius):
    """What of an array lies within `radius` rows and columns of a pixel."""
    rows = slice(max(row - radius, 0), row + radius + 1)
    columns = slice(max(column - radius, 0), column + radius + 1)
    return array[rows, columns]


def box_mean_by_loop(array, radius):
    found = np.empty_like(array)
    for row, column in np.ndindex(array.shape[:2]):
        found[row, column] = window(array, row, column, radius).mean(axis=(0, 1))
    return found


def guided_by_loop(scores, guide, radius, epsilon):
    """Reference: fit every window by ridge regression on centred colours, then average."""
    slopes, offsets = np.empty_like(guide), np.empty_like(scores)
    for row, column in np.ndindex(scores.shape):
        colours = window(guide, row, column, radius).reshape(-1, 3)
        values = window(scores, row, column, radius).ravel()
        centred = colours - colours.mean(axis=0)
        # Ridge regression, as rows that pull each slope to 0.
        design = np.vstack([centred, np.sqrt(len(values) * epsilon) * np.eye(3)])
        target = np.concatenate([values - values.mean(), np.zeros(3)])
        slope = np.linalg.lstsq(design, target, rcond=None)[0]
        slopes[row, column] = slope
        offsets[row, column] = values.mean() - slope @ colours.mean(axis=0)
    mean_slopes = box_mean_by_loop(slopes, radius)
    return (mean_slopes * guide).sum(axis=-1) + box_mean_by_loop(offsets, radius)


def random_view(seed, height=9, width=12):
    rng = np.random.default_rng(seed)
    return rng.random((height, width)), rng.random((height, width, 3))


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-3), (2, 0.1), (3, 1e-4)])
def test_it_matches_ridge_regression_in_each_window(radius, epsilon):
    scores, guide = random_view(radius)
    found = guided_filter(scores, torch.from_numpy(guide), GuidedConfig(radius, epsilon))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, guided_by_loop(scores, guide, radius, epsilon), atol=1e-9)


@pytest.mark.parametrize("radius", [1, 4, 20])
def test_on_a_guide_of_one_colour_it_is_the_box_mean_of_the_box_mean(radius):
    scores, _ = random_view(0)
    guide = torch.tensor([0.2, 0.5, 0.9]).expand(9, 12, 3)
    expected = box_mean_by_loop(box_mean_by_loop(scores, radius), radius)
    found = guided_filter(scores, guide, GuidedConfig(radius, 1e-3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scores_that_are_linear_in_the_colours_are_kept():
    _, guide = random_view(1)
    scores = guide @ np.array([0.5, -2.0, 1.0]) - 0.3
    found = guided_filter(scores, torch.from_numpy(guide), GuidedConfig(2, 1e-10))
    np.testing.assert_allclose(found, scores, atol=1e-6)


def test_a_blurred_edge_moves_to_the_edge_of_the_colours():
    guide = np.full((20, 24, 3), 0.2)
    guide[:, 12:] = [0.9, 0.7, 0.3]
    ramp = np.clip((np.arange(24) - 9) / 6, 0, 1)[None].repeat(20, axis=0)  # across six pixels
    found = guided_filter(ramp, torch.from_numpy(guide), GuidedConfig(4, 1e-6))
    assert ramp[0, 12] - ramp[0, 11] < 0.2
    steps = np.diff(found[10])
    assert steps.argmax() == 11 and steps[11] > 0.6
    assert abs(np.delete(steps, 11)).max() < 0.1


def test_constant_scores_stay_as_they_are():
    _, guide = random_view(2)
    found = guided_filter(np.full((9, 12), -0.4), torch.from_numpy(guide), GuidedConfig(3, 1e-4))
    np.testing.assert_allclose(found, -0.4, atol=1e-12)


def test_a_guide_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"guide: expected shape \(9 12 3\), got \(9, 11, 3\)"):
        guided_filter(np.zeros((9, 12)), torch.zeros(9, 11, 3), GuidedConfig(1, 0.1))


@pytest.mark.parametrize("settings", [(0, 0.1), (1, 0.0), (1, float("nan")), (1.5, 0.1)])
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValidationError):
        GuidedConfig(*settings)
