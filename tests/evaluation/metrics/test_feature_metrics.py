import math

import pytest
import torch

from gsn.evaluation.metrics.feature_metrics import score_features


def scores_by_loop(rendered, teacher):
    """Reference: one cell at a time, in plain Python."""
    cosines, errors = [], []
    for a, b in zip(
        rendered.reshape(-1, rendered.shape[-1]).tolist(),
        teacher.reshape(-1, teacher.shape[-1]).tolist(),
        strict=True,
    ):
        norm_a, norm_b = math.hypot(*a), math.hypot(*b)
        a, b = [x / norm_a for x in a], [x / norm_b for x in b]
        cosines.append(sum(x * y for x, y in zip(a, b, strict=True)))
        errors.extend((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return {
        "feature_cosine": sum(cosines) / len(cosines),
        "feature_mse": sum(errors) / len(errors),
    }


def test_scores_match_a_loop_over_cells():
    draw = torch.Generator().manual_seed(0)
    rendered, teacher = torch.randn(2, 5, 7, 6, generator=draw)
    assert score_features(rendered, teacher) == pytest.approx(scores_by_loop(rendered, teacher))


def test_length_does_not_count():
    teacher = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    length = torch.linspace(0.1, 30, 12).reshape(3, 4, 1)
    got = score_features(teacher * length, teacher)
    assert got == pytest.approx({"feature_cosine": 1.0, "feature_mse": 0.0}, abs=1e-9)


def test_opposite_vectors_mark_the_ends_of_the_range():
    teacher = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2))
    got = score_features(-teacher, teacher)
    assert got == pytest.approx({"feature_cosine": -1.0, "feature_mse": 4 / 5})


def test_a_zero_vector_has_cosine_0_and_the_squared_distance_of_a_unit_vector():
    rendered = torch.zeros(1, 2, 2)
    teacher = torch.tensor([[[0.0, 3.0], [0.0, 0.0]]])
    # Cell 1: distance² 1 over two channels; cell 2: two zero vectors, distance 0.
    assert score_features(rendered, teacher) == {"feature_cosine": 0.0, "feature_mse": 0.25}


def test_half_precision_maps_are_scored_in_double():
    teacher = torch.full((100, 100, 8), 0.01, dtype=torch.float16)
    got = score_features(teacher, teacher)
    assert got["feature_cosine"] == pytest.approx(1.0, abs=1e-9)


def test_maps_of_different_grids_are_refused():
    with pytest.raises(ValueError, match=r"teacher: expected shape \(3 4 5\), got \(4, 3, 5\)"):
        score_features(torch.zeros(3, 4, 5), torch.zeros(4, 3, 5))


def test_a_map_without_cells_is_refused():
    with pytest.raises(ValueError, match="without cells"):
        score_features(torch.zeros(0, 4, 5), torch.zeros(0, 4, 5))
