import math

import numpy as np
import pytest
import torch

from gsn.evaluation.segmentation.centroids import (
    Centroids,
    fit_centroids,
    lead_map,
    score_map,
)


def random_features(seed: int, channels: int = 6) -> torch.Tensor:
    return torch.randn(9, 11, channels, generator=torch.Generator().manual_seed(seed))


def test_two_kinds_of_feature_under_a_stroke_become_two_centroids():
    features = torch.zeros(4, 5, 3)
    features[0] = torch.tensor([2.0, 0.0, 0.0])  # of length 2: direction alone counts
    features[1] = torch.tensor([0.0, 0.0, 5.0])
    features[2:] = torch.tensor([0.0, 1.0, 0.0])
    stroke = np.zeros((4, 5), bool)
    stroke[:2] = True
    prompt = fit_centroids(features, stroke, n_clusters=11, seed=0)
    got = sorted(prompt.positive.round(decimals=9).tolist())
    assert got == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    scores = score_map(features, prompt)
    np.testing.assert_allclose(scores[:2], 0.0, atol=1e-12)
    np.testing.assert_allclose(scores[2:], -1.0, atol=1e-12)


def test_cosine_scores_match_a_loop():
    features, centroids = random_features(0), torch.randn(3, 6, dtype=torch.float64)
    got = score_map(features, Centroids(centroids, "cosine"))
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
    got = score_map(features, Centroids(centroids, "squared"))
    for (row, column), score in np.ndenumerate(got):
        vector = features[row, column].tolist()
        distances = [
            sum((x - y) ** 2 for x, y in zip(vector, c, strict=True)) / 6
            for c in centroids.tolist()
        ]
        assert score == pytest.approx(-min(distances))


def test_opposite_and_zero_features_mark_the_range_of_cosine_scores():
    prompt = Centroids(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), "cosine")
    features = torch.tensor([[[0.0, 4.0, 0.0], [0.0, 0.0, 0.0], [0.0, -0.5, 0.0]]])
    np.testing.assert_allclose(score_map(features, prompt), [[0.0, -1.0, -2.0]], atol=1e-12)


def test_length_counts_for_squared_but_not_for_cosine():
    features = random_features(2)
    stroke = np.zeros((9, 11), bool)
    stroke[3, 2:9] = True
    for metric, same in (("cosine", True), ("squared", False)):
        prompt = fit_centroids(features, stroke, 3, seed=0, metric=metric)
        alike = np.allclose(score_map(features, prompt), score_map(7 * features, prompt))
        assert alike == same


def test_squared_centroids_are_of_the_features_as_they_are():
    features = torch.tensor([3.0, 0.0, 4.0]).expand(2, 5, 3)
    prompt = fit_centroids(features, np.ones((2, 5), bool), 11, seed=0, metric="squared")
    assert prompt.positive.tolist() == [[3.0, 0.0, 4.0]]
    unit = fit_centroids(features, np.ones((2, 5), bool), 11, seed=0, metric="cosine")
    torch.testing.assert_close(unit.positive, torch.tensor([[0.6, 0.0, 0.8]]).double())


def test_equal_seeds_give_equal_centroids():
    features = random_features(3)
    stroke = np.ones((9, 11), bool)
    first, second = (fit_centroids(features, stroke, 11, seed=5).positive for _ in range(2))
    assert first.shape == (11, 6)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_an_empty_stroke_is_refused():
    with pytest.raises(ValueError, match="stroke: no pixel is set"):
        fit_centroids(random_features(0), np.zeros((9, 11), bool), 11, 0)


def test_a_stroke_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"stroke: expected shape \(9 11\), got \(11, 9\)"):
        fit_centroids(random_features(0), np.ones((11, 9), bool), 11, 0)


def test_no_clusters_are_refused():
    with pytest.raises(ValueError, match="n_clusters: expected at least 1, got 0"):
        fit_centroids(random_features(0), np.ones((9, 11), bool), 0, 0)


def test_features_of_another_width_are_refused():
    prompt = fit_centroids(random_features(0), np.ones((9, 11), bool), 2, 0)
    with pytest.raises(ValueError, match=r"features: expected shape \(H W 6\), got \(9, 11, 5\)"):
        score_map(random_features(0, channels=5), prompt)


def striped_view():
    """Four stripes of two rows, each with a feature of its own."""
    kinds = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return kinds.repeat_interleave(2, dim=0)[:, None].expand(8, 5, 3)


def stroke_in(*rows):
    stroke = np.zeros((8, 5), bool)
    stroke[list(rows), 1:4] = True
    return stroke


def test_with_a_negative_stroke_the_lead_is_how_much_nearer_the_object_is():
    view = striped_view()
    prompt = fit_centroids(view, stroke_in(0), 3, seed=0, negative=stroke_in(4))
    assert prompt.positive.tolist() == [[1.0, 0.0, 0.0]]
    assert prompt.negative.tolist() == [[0.0, 1.0, 0.0]]
    # Distances to the negative less those to the positive: 1 - 0, 0.4 - 0.2, 0 - 1, 1 - 1.
    expected = np.repeat([1.0, 0.2, -1.0, 0.0], 2)[:, None].repeat(5, axis=1)
    np.testing.assert_allclose(lead_map(view, prompt), expected, atol=1e-7)
    squared = fit_centroids(view, stroke_in(0), 3, 0, "squared", stroke_in(4))
    # Means over three channels: (2 - 0) / 3, (0.8 - 0.4) / 3, (0 - 2) / 3, (2 - 2) / 3.
    expected = np.repeat([2.0, 0.4, -2.0, 0.0], 2)[:, None].repeat(5, axis=1) / 3
    np.testing.assert_allclose(lead_map(view, squared), expected, atol=1e-7)


def test_the_nearest_centroid_of_either_kind_counts():
    view = striped_view()
    prompt = fit_centroids(view, stroke_in(0, 6), 2, seed=0, negative=stroke_in(2, 4))
    assert len(prompt.positive) == len(prompt.negative) == 2
    # Nearest negative: 0.2, 0, 0, 1; nearest positive: 0, 0.2, 1, 0.
    expected = np.repeat([0.2, -0.2, -1.0, 1.0], 2)[:, None].repeat(5, axis=1)
    np.testing.assert_allclose(lead_map(view, prompt), expected, atol=1e-7)


def test_without_a_negative_stroke_there_is_no_negative_centroid_and_no_lead():
    prompt = fit_centroids(striped_view(), stroke_in(0), 3, 0)
    assert prompt.negative is None and lead_map(striped_view(), prompt) is None


def test_negative_strokes_leave_the_score_as_it_is():
    view, positive = striped_view(), stroke_in(0)
    scores = [
        score_map(view, fit_centroids(view, positive, 3, 0, negative=negative))
        for negative in (None, stroke_in(4))
    ]
    np.testing.assert_array_equal(*scores)


def test_centroids_match_those_of_another_k_means():
    # Three far groups: every k-means that converges finds their means.
    rng = np.random.default_rng(0)
    means = np.eye(3) * 10
    points = (means[:, None] + rng.normal(size=(3, 20, 3))).reshape(6, 10, 3)
    prompt = fit_centroids(torch.from_numpy(points), np.ones((6, 10), bool), 3, 0, "squared")
    groups = points.reshape(3, 20, 3).mean(axis=1)
    order = prompt.positive.argmax(dim=1).argsort()
    np.testing.assert_allclose(prompt.positive[order], groups)


def test_fewer_kinds_of_feature_than_clusters_are_no_news(caplog):
    with caplog.at_level("DEBUG"):
        fit_centroids(striped_view(), stroke_in(0), 3, 0)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "1 clusters, not 3: the stroke has no more distinct features" in caplog.text


def test_an_empty_negative_stroke_is_refused():
    with pytest.raises(ValueError, match="negative stroke: no pixel is set"):
        fit_centroids(striped_view(), stroke_in(0), 3, 0, negative=stroke_in())


def test_features_that_are_not_finite_under_a_stroke_are_refused():
    view = striped_view().clone()
    view[0, 2] = torch.nan
    with pytest.raises(ValueError, match="features under the stroke: expected finite values"):
        fit_centroids(view, stroke_in(0), 3, 0)
    fit_centroids(view, stroke_in(1), 3, 0)
