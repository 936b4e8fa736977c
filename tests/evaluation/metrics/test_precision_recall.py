import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gsn.evaluation.metrics.precision_recall import precision_recall


def by_loop(scores, truth):
    """Reference: lower the threshold from score to score until a recall is reached."""
    found = []
    for percent in range(1, 101):
        for threshold in sorted(set(scores.ravel()), reverse=True):
            taken = scores >= threshold
            hits = int((taken & truth).sum())
            if 100 * hits >= percent * int(truth.sum()):
                found.append(hits / int(taken.sum()))
                break
    return found


@pytest.mark.parametrize("levels", [1000, 7])
def test_precision_is_that_of_the_highest_threshold_that_reaches_a_recall(levels):
    draw = np.random.default_rng(levels)
    truth = draw.random((6, 8)) < 0.3
    scores = np.round((truth + draw.normal(size=truth.shape)) * levels / 4) / levels
    recall, precision = precision_recall(scores, truth)
    np.testing.assert_allclose(recall, [percent / 100 for percent in range(1, 101)])
    np.testing.assert_allclose(precision, by_loop(scores, truth))


def test_recalls_that_are_no_binary_fractions_are_reached():
    truth = np.zeros((1, 20), bool)
    truth[0, :10] = True
    scores = np.concatenate([np.arange(20, 10, -1), [10.5] * 10])[None].astype(float)
    scores[0, 3:10] = 1.0  # three hits, then all misses, then the other hits
    _, precision = precision_recall(scores, truth)
    assert precision[29] == 1.0  # recall 0.30 = 3 / 10
    assert precision[30] == 0.5


def test_the_mean_height_of_the_curve_is_the_average_precision():
    draw = np.random.default_rng(0)
    truth = draw.random((40, 50)) < 0.2
    truth.flat[np.flatnonzero(truth)[: int(truth.sum()) % 100]] = False  # every step is a percent
    scores = truth + draw.normal(size=truth.shape)
    _, precision = precision_recall(scores, truth)
    expected = average_precision_score(truth.ravel(), scores.ravel())
    assert precision.mean() == pytest.approx(expected, abs=0.01)


def test_perfect_scores_have_precision_one_everywhere():
    truth = np.arange(12).reshape(3, 4) > 8
    assert (precision_recall(truth * 1.0, truth)[1] == 1.0).all()


def test_a_full_mask_has_precision_one_everywhere():
    scores = np.random.default_rng(0).normal(size=(3, 4))
    assert (precision_recall(scores, np.ones((3, 4), bool))[1] == 1.0).all()


def test_a_view_without_the_object_has_no_curve():
    with pytest.raises(ValueError, match="truth: no pixel is set"):
        precision_recall(np.zeros((3, 4)), np.zeros((3, 4), bool))


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="scores: expected finite values"):
        precision_recall(np.full((3, 4), np.nan), np.ones((3, 4), bool))
