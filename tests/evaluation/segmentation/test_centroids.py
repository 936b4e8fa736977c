import math

import numpy as np
import pytest
import torch

from gsn.evaluation.segmentation.centroids import (
    StrokePrompt,
    choose_threshold,
    fit_prompt,
    score_map,
    segment,
)


def random_features(seed: int, channels: int = 6) -> torch.Tensor:
    return torch.randn(9, 11, channels, generator=torch.Generator().manual_seed(seed))


def iou_by_loop(scores, mask, threshold):
    both = either = 0
    for score, inside in zip(scores.ravel(), mask.ravel(), strict=True):
        both += bool(score >= threshold and inside)
        either += bool(score >= threshold or inside)
    return both / either


def best_threshold_by_loop(scores, mask):
    """Reference: try every score, the highest first."""
    return max(
        sorted(set(scores.ravel()), reverse=True), key=lambda t: iou_by_loop(scores, mask, t)
    )


def test_two_kinds_of_feature_under_a_stroke_become_two_centroids():
    features = torch.zeros(4, 5, 3)
    features[0] = torch.tensor([2.0, 0.0, 0.0])  # of length 2: direction alone counts
    features[1] = torch.tensor([0.0, 0.0, 5.0])
    features[2:] = torch.tensor([0.0, 1.0, 0.0])
    stroke = np.zeros((4, 5), bool)
    stroke[:2] = True
    prompt = fit_prompt(features, stroke, n_clusters=11, seed=0)
    got = sorted(prompt.centroids.round(decimals=9).tolist())
    assert got == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    scores = score_map(features, prompt)
    np.testing.assert_allclose(scores[:2], 0.0, atol=1e-12)
    np.testing.assert_allclose(scores[2:], -1.0, atol=1e-12)


def test_cosine_scores_match_a_loop():
    features, centroids = random_features(0), torch.randn(3, 6, dtype=torch.float64)
    got = score_map(features, StrokePrompt(centroids, "cosine"))
    for (row, column), score in np.ndenumerate(got):
        vector = features[row, column].tolist()
        cosines = [
            sum(x * y for x, y in zip(vector, c, strict=True))
            / math.hypot(*vector)
            / math.hypot(*c)
            for c in centroids.tolist()
        ]
        assert score == pytest.approx(-min(1 - cosine for cosine in cosines))


def test_squared_scores_match_a_loop():
    features, centroids = random_features(1), torch.randn(3, 6, dtype=torch.float64)
    got = score_map(features, StrokePrompt(centroids, "squared"))
    for (row, column), score in np.ndenumerate(got):
        vector = features[row, column].tolist()
        distances = [
            sum((x - y) ** 2 for x, y in zip(vector, c, strict=True)) / 6
            for c in centroids.tolist()
        ]
        assert score == pytest.approx(-min(distances))


def test_opposite_and_zero_features_mark_the_range_of_cosine_scores():
    prompt = StrokePrompt(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), "cosine")
    features = torch.tensor([[[0.0, 4.0, 0.0], [0.0, 0.0, 0.0], [0.0, -0.5, 0.0]]])
    np.testing.assert_allclose(score_map(features, prompt), [[0.0, -1.0, -2.0]], atol=1e-12)


def test_length_counts_for_squared_but_not_for_cosine():
    features = random_features(2)
    stroke = np.zeros((9, 11), bool)
    stroke[3, 2:9] = True
    for metric, same in (("cosine", True), ("squared", False)):
        prompt = fit_prompt(features, stroke, 3, seed=0, metric=metric)
        alike = np.allclose(score_map(features, prompt), score_map(7 * features, prompt))
        assert alike == same


def test_squared_centroids_are_of_the_features_as_they_are():
    features = torch.tensor([3.0, 0.0, 4.0]).expand(2, 5, 3)
    prompt = fit_prompt(features, np.ones((2, 5), bool), 11, seed=0, metric="squared")
    assert prompt.centroids.tolist() == [[3.0, 0.0, 4.0]]
    unit = fit_prompt(features, np.ones((2, 5), bool), 11, seed=0, metric="cosine")
    torch.testing.assert_close(unit.centroids, torch.tensor([[0.6, 0.0, 0.8]]).double())


def test_equal_seeds_give_equal_centroids():
    features = random_features(3)
    stroke = np.ones((9, 11), bool)
    first, second = (fit_prompt(features, stroke, 11, seed=5).centroids for _ in range(2))
    assert first.shape == (11, 6)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_an_empty_stroke_is_refused():
    with pytest.raises(ValueError, match="stroke: no pixel is set"):
        fit_prompt(random_features(0), np.zeros((9, 11), bool), 11, 0)


def test_a_stroke_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"stroke: expected shape \(9 11\), got \(11, 9\)"):
        fit_prompt(random_features(0), np.ones((11, 9), bool), 11, 0)


def test_no_clusters_are_refused():
    with pytest.raises(ValueError, match="n_clusters: expected at least 1, got 0"):
        fit_prompt(random_features(0), np.ones((9, 11), bool), 0, 0)


def test_features_of_another_width_are_refused():
    prompt = fit_prompt(random_features(0), np.ones((9, 11), bool), 2, 0)
    with pytest.raises(ValueError, match=r"features: expected shape \(H W 6\), got \(9, 11, 5\)"):
        score_map(random_features(0, channels=5), prompt)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [3, 1000])
def test_the_threshold_is_the_best_of_all_scores(seed, levels):
    rng = np.random.default_rng(seed)
    mask = rng.random((8, 9)) < 0.3
    scores = -np.round(rng.random((8, 9)) * levels + 0.4 * levels * ~mask) / levels
    assert choose_threshold(scores, mask) == best_threshold_by_loop(scores, mask)


def test_a_known_threshold_and_its_segment():
    scores = np.array([[-0.1, -0.2, -0.3], [-0.4, -0.5, -0.6]])
    mask = np.array([[True, True, False], [True, False, False]])
    # IoU by number of pixels taken: 1/3, 2/3, 2/4, 3/4, 3/5, 3/6.
    assert choose_threshold(scores, mask) == -0.4
    np.testing.assert_array_equal(segment(scores, -0.4), [[True, True, True], [True, False, False]])


def test_of_equally_good_thresholds_the_highest_is_taken():
    # One pixel: IoU 1/2. Four pixels: IoU 2/4.
    scores = np.array([[0.0, -1.0, -2.0, -3.0]])
    assert choose_threshold(scores, np.array([[True, False, False, True]])) == 0.0


def test_a_prompt_view_without_the_object_is_refused():
    with pytest.raises(ValueError, match="not in the prompt view"):
        choose_threshold(np.zeros((2, 3)), np.zeros((2, 3), bool))


def test_scores_with_nan_are_refused():
    with pytest.raises(ValueError, match="scores: expected finite values"):
        choose_threshold(np.full((2, 3), np.nan), np.ones((2, 3), bool))
