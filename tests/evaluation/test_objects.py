import numpy as np
import pytest
import torch

from gsn.evaluation.objects import ObjectQuery, StrokeConfig, make_queries, pick_prompt_view
from gsn.evaluation.segmentation.centroids import StrokePrompt

CONFIG = StrokeConfig(seed=0, width_px=3, n_clusters=2, distance="cosine")
MASK = np.zeros((20, 24), np.uint8)
MASK[2:10, 3:12] = 1
MASK[12:18, 8:20] = 3  # no pixel of object 2
LABELS = ("cup", "jar", "shoe")


def features_of(mask):
    """Of each object its own direction, with a little noise."""
    noise = 0.05 * torch.randn(*mask.shape, 6, generator=torch.Generator().manual_seed(0))
    return torch.eye(6)[torch.from_numpy(mask).long()] + noise


def mask_with(**areas):
    mask = np.zeros(100, np.uint8)
    start = 0
    for value, area in areas.items():
        mask[start : start + area] = int(value[1:])
        start += area
    return mask.reshape(10, 10)


def test_the_prompt_view_shows_most_objects():
    masks = {4: mask_with(_1=50), 7: mask_with(_1=1, _2=1), 9: mask_with(_2=60)}
    assert pick_prompt_view(masks, 3) == 7


def test_of_those_it_is_the_one_whose_smallest_object_is_largest():
    masks = {2: mask_with(_1=60, _3=5), 5: mask_with(_1=10, _2=9), 8: mask_with(_2=70, _3=8)}
    assert pick_prompt_view(masks, 3) == 5


def test_of_equals_it_is_the_first_and_without_objects_as_well():
    assert pick_prompt_view({6: mask_with(_1=9), 3: mask_with(_2=9)}, 3) == 3
    assert pick_prompt_view({6: mask_with(), 3: mask_with()}, 3) == 3


def test_objects_that_the_prompt_view_does_not_show_have_no_query():
    queries = make_queries(features_of(MASK), MASK, LABELS, CONFIG)
    assert {value: query.label for value, query in queries.items()} == {1: "cup", 3: "shoe"}


@pytest.mark.parametrize("distance", ["cosine", "squared"])
def test_a_stroke_in_one_view_finds_the_object_in_another(distance):
    config = StrokeConfig(seed=0, width_px=3, n_clusters=2, distance=distance)
    queries = make_queries(features_of(MASK), MASK, LABELS, config)
    other = np.roll(MASK, (1, -2), axis=(0, 1))
    features = features_of(MASK).roll((1, -2), dims=(0, 1))
    for value, query in queries.items():
        found, scores = query.find(features)
        np.testing.assert_array_equal(found, other == value)
        assert scores[found].min() >= query.threshold > scores[~found].max()


def test_a_pixel_belongs_to_the_object_from_the_threshold_on():
    prompt = StrokePrompt(torch.tensor([[1.0, 0.0]]), "cosine")
    features = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]]])
    _, scores = ObjectQuery("cup", prompt, 0.0).find(features)
    np.testing.assert_allclose(scores, [[0, -0.4, -1]], atol=1e-6)
    assert ObjectQuery("cup", prompt, -0.41).find(features)[0].tolist() == [[True, True, False]]
    assert ObjectQuery("cup", prompt, -0.39).find(features)[0].tolist() == [[True, False, False]]


def test_the_same_settings_give_the_same_queries():
    first, again = (make_queries(features_of(MASK), MASK, LABELS, CONFIG) for _ in range(2))
    for value in (1, 3):
        assert first[value].threshold == again[value].threshold
        assert torch.equal(first[value].prompt.centroids, again[value].prompt.centroids)
