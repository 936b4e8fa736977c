import numpy as np
import pytest

from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.object_search import Search
from gsn.evaluation.segmentation.segmenter import Segmentation

NAMES = ("v0", "v1", "v2", "v3")
VALUES = np.zeros((4, 6), np.uint8)
VALUES[:2, :3] = 1  # 6 pixels: cup
VALUES[2:, 4:] = 2  # 4 pixels: jar
CUP, JAR = VALUES == 1, VALUES == 2


def truth_of(masks, labels=("cup", "jar")):
    return TrueMasks("room", NAMES, labels, masks, 0.1)


def found_as(mask, **scores):
    return Segmentation(mask, scores.get("scores", mask.astype(np.float64)))


@pytest.fixture
def truth():
    return truth_of({0: VALUES, 2: np.where(JAR, VALUES, 0).astype(np.uint8)})


def test_an_object_is_where_its_value_stands(truth):
    np.testing.assert_array_equal(truth.of(0, "cup"), CUP)
    np.testing.assert_array_equal(truth.of(2, "jar"), JAR)


def test_a_view_without_the_object_is_known_to_be_without_it(truth):
    missing = truth.of(2, "cup")
    assert missing.shape == (4, 6) and not missing.any()


@pytest.mark.parametrize(("view", "label"), [(1, "cup"), (0, "shoe"), (3, "shoe")])
def test_nothing_is_known_of_views_without_mask_and_of_objects_that_no_mask_names(
    truth, view, label
):
    assert truth.of(view, label) is None


def test_two_values_of_one_label_are_one_object():
    truth = truth_of({0: VALUES}, ("cup", "cup"))
    np.testing.assert_array_equal(truth.of(0, "cup"), CUP | JAR)
    rows = truth.score(0, {Search("model", "cup", 0): found_as(CUP | JAR)})
    assert [(row.object, row.scores["iou"]) for row in rows] == [("cup", 1.0)]


def test_a_row_says_what_was_found_by_whom_and_how_well(truth):
    half = CUP & (np.arange(6) < 2)  # 4 of 6 pixels
    wide = JAR | np.roll(JAR, -1, axis=1)  # 6 pixels, of which 4 are right
    found = {
        Search("model", "cup", 0): found_as(half),
        Search("colour_only", "jar", 2): found_as(wide),
    }
    first, second = truth.score(0, found)
    assert first.key == ("room", "cup", "v0", 0, "model")
    assert second.key == ("room", "jar", "v0", 2, "colour_only")
    assert first.scores["iou"] == pytest.approx(4 / 6)
    assert first.scores["accuracy"] == pytest.approx(22 / 24)
    # Recall 4/6 at precision 1, and the rest with all 24 pixels at 6/24.
    assert first.scores["average_precision"] == pytest.approx(4 / 6 + (2 / 6) * (6 / 24))
    assert second.scores["iou"] == pytest.approx(4 / 6)
    assert set(first.scores) == {"iou", "accuracy", "boundary_f", "average_precision"}


def test_the_tolerance_of_borders_is_that_of_the_settings():
    shifted = np.roll(CUP, 2, axis=1)
    found = {Search("model", "cup", 0): found_as(shifted)}
    loose, strict = (
        TrueMasks("room", NAMES, ("cup",), {0: VALUES}, share).score(0, found)[0].scores
        for share in (0.3, 0.001)
    )
    assert loose["boundary_f"] == 1 > strict["boundary_f"]


def test_a_view_without_its_object_asks_whether_nothing_is_found(truth):
    found = {
        Search("model", "cup", 0): found_as(np.zeros_like(CUP)),
        Search("colour_only", "cup", 0): found_as(JAR),
    }
    right, wrong = truth.score(2, found)
    assert right.scores == {"iou": 1.0, "accuracy": 1.0, "boundary_f": 1.0}
    assert wrong.scores == {"iou": 0.0, "accuracy": pytest.approx(20 / 24), "boundary_f": 0.0}


def test_what_is_not_known_is_not_scored(truth):
    found = {Search("model", "cup", 0): found_as(CUP), Search("model", "shoe", 0): found_as(CUP)}
    assert truth.score(1, found) == []
    assert [row.object for row in truth.score(0, found)] == ["cup"]
    assert truth_of({}, ()).score(0, found) == []


def test_curves_are_those_of_the_first_draw_of_objects_in_the_view(truth):
    found = {
        Search("model", "cup", 0): found_as(CUP),
        Search("model", "jar", 0): found_as(CUP),
        Search("model", "cup", 1): found_as(JAR),
        Search("colour_only", "jar", 0): found_as(JAR),
        Search("model", "shoe", 0): found_as(JAR),
    }
    curves = truth.curves(0, found)
    assert {method: len(of_method) for method, of_method in curves.items()} == {
        "model": 2,
        "colour_only": 1,
    }
    for recall, precision in (curves["model"][0], curves["colour_only"][0]):
        assert recall[-1] == 1
        np.testing.assert_allclose(precision, 1)
    # Nothing of the jar is among the best pixels: it comes in with all 24, of which 4 are right.
    np.testing.assert_allclose(curves["model"][1][1], 4 / 24)


def test_views_without_mask_or_object_have_no_curve(truth):
    found = {Search("model", "cup", 0): found_as(CUP)}
    assert truth.curves(1, found) == truth.curves(2, found) == {}


def searched(*labels, method="model"):
    return {Search(method, label, 0): found_as(CUP) for label in labels}


@pytest.mark.parametrize(
    ("view", "labels", "shown"),
    [
        (0, ("jar", "cup"), "cup"),  # 6 pixels against 4
        (0, ("jar",), "jar"),
        (2, ("cup", "jar"), "jar"),  # the cup is not in that view
        (0, ("shoe", "jar"), "jar"),  # what is known goes before what is not
        (1, ("jar", "cup"), "jar"),  # nothing is known: the first
        (0, ("shoe", "hat"), "shoe"),
        (0, (), None),
    ],
)
def test_the_object_to_show_is_the_largest_of_those_that_are_searched_for(
    truth, view, labels, shown
):
    assert truth.largest(view, searched(*labels)) == shown


def test_what_the_model_does_not_search_for_is_not_shown(truth):
    assert truth.largest(0, searched("cup", method="colour_only")) is None
