import numpy as np
import pytest
import torch

from gsn.evaluation.metrics.mask_metrics import score_mask
from gsn.evaluation.text import TextSegmentation, names
from gsn.features.basis import Basis
from gsn.features.prompts import Prompts, TextQuery

MASK = np.zeros((6, 8), np.uint8)
MASK[1:4, 1:4] = 1
MASK[2:5, 5:8] = 2


def segmentation(texts, labels=("red cup", "jar"), dims=4):
    """A text has the direction of its place in the list; features are what they are."""
    mean = np.full(dims, 0.3)
    basis = Basis(mean, np.eye(dims), np.ones(dims), np.full(dims, 1 / dims), 9, {})
    vectors = np.eye(dims, dtype=np.float32)[: len(texts)]
    return TextSegmentation(TextQuery(basis, Prompts(tuple(texts), vectors, {})), labels)


def features_of(places, dims=4):
    """Features (h, w, D) that are nearest to the text at these places of the list."""
    return torch.eye(dims)[torch.from_numpy(np.asarray(places).astype(np.int64))]


@pytest.mark.parametrize(
    ("prompt", "label", "expected"),
    [
        ("red cup", "red cup", True),
        ("a red cup", "red cup", True),
        ("An apple ", "apple", True),
        ("the red cup", "red cup", True),
        ("a cup", "red cup", False),
        ("my red cup", "red cup", False),
        ("red cup on a table", "red cup", False),
    ],
)
def test_a_prompt_names_a_label_with_or_without_an_article(prompt, label, expected):
    assert names(prompt, label) is expected


def test_a_pixel_belongs_to_the_nearest_of_all_prompts():
    # The jar is seen whole, of the cup two pixels look like the table, which is no object.
    texts = ["a jar", "the red cup", "a table"]
    places = np.choose(MASK, [2, 1, 0])
    places[1, 1:3] = 2
    found = segmentation(texts).score(features_of(places), MASK)
    assert found["text_iou"] == pytest.approx((7 / 9 + 1) / 2)
    assert found["text_accuracy"] == pytest.approx((46 / 48 + 1) / 2)
    assert found.keys() == {"text_iou", "text_accuracy", "text_ap"}


def test_scores_are_cosines_less_the_best_of_the_others():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(6, 8, 4, generator=draw)
    texts = ["red cup", "a jar", "a table"]
    found = segmentation(texts).score(features, MASK)
    x = (features + 0.3).double().numpy()
    cosines = x[..., :3] / np.linalg.norm(x, axis=-1, keepdims=True)
    rows = []
    for value, k in ((1, 0), (2, 1)):
        others = np.maximum(*(cosines[..., j] for j in range(3) if j != k))
        scores = cosines[..., k] - others
        rows.append(score_mask(cosines.argmax(axis=-1) == k, value == MASK, scores))
    expected = {
        "text_iou": (rows[0]["iou"] + rows[1]["iou"]) / 2,
        "text_accuracy": (rows[0]["accuracy"] + rows[1]["accuracy"]) / 2,
        "text_ap": (rows[0]["average_precision"] + rows[1]["average_precision"]) / 2,
    }
    assert found == pytest.approx(expected)


def test_only_named_objects_in_view_are_scored():
    places = np.where(MASK == 1, 0, 1)
    view = features_of(places)
    assert segmentation(["red cup", "a table"]).score(view, MASK)["text_iou"] == 1
    assert segmentation(["red cup", "a table"]).score(view, np.where(MASK == 1, 0, MASK)) == {}
    assert segmentation(["a bowl", "a table"]).score(view, MASK) == {}
    assert segmentation(["a bowl", "a jar"]).named == {"jar": [1]}


def test_objects_of_one_label_are_one_thing_to_a_text():
    places = np.where(MASK > 0, 0, 1)
    found = segmentation(["a cup", "a table"], labels=("cup", "cup")).score(
        features_of(places), MASK
    )
    assert found["text_iou"] == found["text_accuracy"] == found["text_ap"] == 1


def test_two_prompts_for_one_label_do_not_compete():
    places = np.where(MASK == 1, 0, 2)
    places[1] = np.where(MASK[1] == 1, 1, 2)
    found = segmentation(["red cup", "the red cup", "a table"], dims=4)
    assert found.score(features_of(places), MASK)["text_iou"] == 1


def test_a_single_prompt_has_every_pixel():
    found = segmentation(["red cup"]).score(features_of(np.zeros((6, 8))), MASK)
    assert found["text_iou"] == pytest.approx(9 / 48)


def test_another_mask_size_is_refused():
    with pytest.raises(ValueError, match="mask: expected shape"):
        segmentation(["red cup"]).score(features_of(np.zeros((6, 8))), MASK[:5])
