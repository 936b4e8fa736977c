import pytest

from gsn.evaluation.metrics.mean_scores import mean_scores


def test_a_score_is_averaged_over_the_rows_that_have_it():
    rows = [{"psnr_db": 20.0, "iou": 0.5}, {"psnr_db": 22.0}, {"psnr_db": 27.0}]
    assert mean_scores(rows) == {"psnr_db": 23.0, "iou": 0.5}


def test_nothing_has_no_mean():
    assert mean_scores([]) == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused_with_its_row(value):
    with pytest.raises(ValueError, match="row 1: expected a finite 'iou'"):
        mean_scores([{"iou": 0.5}, {"iou": value}])
