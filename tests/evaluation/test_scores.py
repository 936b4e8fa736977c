import pytest

from gsn.evaluation.scores import mean_scores, summarise


def test_scenes_count_alike_whatever_their_number_of_views():
    got = summarise(
        {
            "fern": [{"psnr_db": 20.0}, {"psnr_db": 22.0}, {"psnr_db": 27.0}],
            "room": [{"psnr_db": 31.0}],
        }
    )
    assert got.scenes == {"fern": {"psnr_db": 23.0}, "room": {"psnr_db": 31.0}}
    assert got.mean == {"psnr_db": 27.0}


def test_a_score_is_averaged_over_the_views_and_scenes_that_have_it():
    got = summarise(
        {"fern": [{"psnr_db": 20.0, "iou": 0.5}, {"psnr_db": 22.0}], "room": [{"psnr_db": 31.0}]}
    )
    assert got.scenes["fern"] == {"psnr_db": 21.0, "iou": 0.5}
    assert got.mean == {"psnr_db": 26.0, "iou": 0.5}


def test_nothing_has_no_mean():
    assert mean_scores([]) == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused_with_scene_and_row(value):
    with pytest.raises(ValueError, match="scene 'fern': row 1: expected a finite 'iou'"):
        summarise({"fern": [{"iou": 0.5}, {"iou": value}]})
