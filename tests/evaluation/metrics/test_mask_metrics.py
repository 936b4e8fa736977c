import json

import numpy as np
import pytest

from gsn.evaluation.metrics.mask_metrics import score_mask

NOTHING = np.zeros((2, 3), bool)
SCORES = np.array([[-0.1, -0.2, -0.3], [-0.4, -0.5, -0.6]])


def test_known_masks_have_known_scores():
    truth = np.array([[True, False, True], [True, False, False]])
    predicted = SCORES >= -0.2
    # Hits 1, union 4; right 3 of 6. Precision at the three true pixels: 1/1, 2/3, 3/4.
    assert score_mask(predicted, truth, SCORES) == pytest.approx(
        {"iou": 1 / 4, "accuracy": 3 / 6, "average_precision": (1 + 2 / 3 + 3 / 4) / 3}
    )


def test_a_perfect_segmentation_has_1_throughout():
    truth = SCORES >= -0.3
    got = score_mask(truth, truth, SCORES)
    assert got == {"iou": 1.0, "accuracy": 1.0, "average_precision": 1.0}


def test_scores_that_tell_nothing_have_the_share_of_the_object_as_average_precision():
    truth = SCORES >= -0.2
    assert score_mask(truth, truth, np.zeros((2, 3)))["average_precision"] == pytest.approx(2 / 6)


def test_nothing_predicted_where_nothing_is_has_iou_1_and_no_average_precision():
    assert score_mask(NOTHING, NOTHING, SCORES) == {"iou": 1.0, "accuracy": 1.0}


def test_something_predicted_where_nothing_is_has_iou_0():
    assert score_mask(SCORES >= -0.2, NOTHING, SCORES) == {"iou": 0.0, "accuracy": 4 / 6}


def test_nothing_predicted_where_something_is_has_iou_0():
    got = score_mask(NOTHING, SCORES >= -0.2, SCORES)
    assert got == {"iou": 0.0, "accuracy": 4 / 6, "average_precision": 1.0}


def test_scores_are_valid_json_numbers():
    got = score_mask(SCORES >= -0.2, ~NOTHING, SCORES)
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert all(0.0 <= value <= 1.0 for value in got.values())


def test_a_mask_of_labels_is_refused():
    with pytest.raises(ValueError, match="truth: expected a boolean array, got uint8"):
        score_mask(NOTHING, np.full((2, 3), 2, np.uint8), SCORES)


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"truth: expected shape \(2 3\), got \(3, 2\)"):
        score_mask(NOTHING, NOTHING.T, SCORES)
