import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, jaccard_score

from gsn.evaluation.metrics.boundary import DAVIS_TOLERANCE, boundary_f
from gsn.evaluation.metrics.mask_metrics import score_mask

NOTHING = np.zeros((2, 3), bool)
SCORES = np.array([[-0.1, -0.2, -0.3], [-0.4, -0.5, -0.6]])


def score(predicted, truth, scores=SCORES, tolerance=DAVIS_TOLERANCE):
    return score_mask(predicted, truth, scores, tolerance)


def test_known_masks_have_known_scores():
    truth = np.array([[True, False, True], [True, False, False]])
    predicted = SCORES >= -0.2
    # Hits 1, union 4; right 3 of 6. Precision at the three true pixels: 1/1, 2/3, 3/4. All pixels
    # of either mask are boundary, and within a pixel of one of the other.
    assert score(predicted, truth) == pytest.approx(
        {
            "iou": 1 / 4,
            "accuracy": 3 / 6,
            "boundary_f": 1.0,
            "average_precision": (1 + 2 / 3 + 3 / 4) / 3,
        }
    )


@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_scores_match_scikit_learn_on_random_masks(share):
    rng = np.random.default_rng(0)
    for _ in range(5):
        truth = rng.random((15, 20)) < share
        scores = rng.normal(size=truth.shape).round(1) + truth  # rounded: some are equal
        predicted = scores > 0.5
        flat = truth.ravel(), predicted.ravel()
        got = score(predicted, truth, scores)
        assert got["iou"] == pytest.approx(jaccard_score(*flat))
        assert got["accuracy"] == pytest.approx(accuracy_score(*flat))
        expected = average_precision_score(flat[0], scores.ravel())
        assert got["average_precision"] == pytest.approx(expected)


def test_the_boundary_tolerance_is_a_share_of_the_diagonal():
    # A picture of 30 x 40 has a diagonal of 50: 0.06 of it is 3 pixels.
    truth, predicted = np.zeros((2, 30, 40), bool)
    truth[:, :20] = predicted[:, :23] = True
    scores = predicted.astype(float)
    assert score(predicted, truth, scores, 0.06)["boundary_f"] == 1.0
    assert score(predicted, truth, scores, 0.0599)["boundary_f"] == 0.0
    predicted[:15, :20] = truth[:15, :20]
    predicted[:15, 20:] = False
    for share, pixels in ((0.02, 1.0), (0.04, 2.0)):
        expected = boundary_f(predicted, truth, pixels)
        assert 0 < expected < 1
        assert score(predicted, truth, scores, share)["boundary_f"] == expected


def test_a_perfect_segmentation_has_1_throughout():
    truth = SCORES >= -0.3
    perfect = {"iou": 1.0, "accuracy": 1.0, "boundary_f": 1.0, "average_precision": 1.0}
    assert score(truth, truth) == perfect
    assert score(~NOTHING, ~NOTHING) == perfect


def test_scores_that_tell_nothing_have_the_share_of_the_object_as_average_precision():
    truth = SCORES >= -0.2
    assert score(truth, truth, np.zeros((2, 3)))["average_precision"] == pytest.approx(2 / 6)


def test_nothing_predicted_where_nothing_is_has_1_and_no_average_precision():
    assert score(NOTHING, NOTHING) == {"iou": 1.0, "accuracy": 1.0, "boundary_f": 1.0}


@pytest.mark.parametrize("n_pixels", [1, 2, 6])
def test_anything_predicted_where_nothing_is_has_iou_and_boundary_0(n_pixels):
    predicted = np.arange(6).reshape(2, 3) < n_pixels
    expected = {"iou": 0.0, "accuracy": 1 - n_pixels / 6, "boundary_f": 0.0}
    assert score(predicted, NOTHING) == pytest.approx(expected)


def test_nothing_predicted_where_something_is_has_iou_and_boundary_0():
    got = score(NOTHING, SCORES >= -0.2)
    expected = {"iou": 0.0, "accuracy": 4 / 6, "boundary_f": 0.0, "average_precision": 1.0}
    assert got == pytest.approx(expected)


def test_everything_predicted_has_the_share_of_the_object_as_iou():
    got = score(~NOTHING, SCORES >= -0.2)
    expected = {"iou": 2 / 6, "accuracy": 2 / 6, "boundary_f": 0.0, "average_precision": 1.0}
    assert got == pytest.approx(expected)


def test_nothing_predicted_where_all_is_object_has_0():
    got = score(NOTHING, ~NOTHING)
    assert got == {"iou": 0.0, "accuracy": 0.0, "boundary_f": 0.0, "average_precision": 1.0}


def test_scores_are_valid_json_numbers():
    got = score(SCORES >= -0.2, ~NOTHING)
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert all(0.0 <= value <= 1.0 for value in got.values())


def test_a_mask_of_labels_is_refused():
    with pytest.raises(ValueError, match="truth: expected a boolean array, got uint8"):
        score(NOTHING, np.full((2, 3), 2, np.uint8))


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"truth: expected shape \(2 3\), got \(3, 2\)"):
        score(NOTHING, NOTHING.T)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("truth", [NOTHING, ~NOTHING])
def test_scores_that_are_not_finite_are_refused_with_and_without_the_object(value, truth):
    with pytest.raises(ValueError, match="scores: expected finite values"):
        score(NOTHING, truth, np.where(SCORES == -0.3, value, SCORES))


def test_masks_without_pixels_are_refused():
    with pytest.raises(ValueError, match="a mask without pixels"):
        score(NOTHING[:0], NOTHING[:0], SCORES[:0])
