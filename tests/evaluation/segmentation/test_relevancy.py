import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gsn.evaluation.segmentation.relevancy import TextConfig, TextSegmenter, names, relevancy
from gsn.features.basis import Basis
from gsn.features.prompts import Prompts, TextQuery

TEXTS = ("a red cup", "the jar", "things", "a table")


def query_of(texts=TEXTS, dims=5):
    """A text has the direction of its place in the list; features are what they are."""
    basis = Basis(np.zeros(dims), np.eye(dims), np.ones(dims), np.full(dims, 1 / dims), 9, {})
    vectors = np.eye(dims, dtype=np.float32)[: len(texts)]
    return TextQuery(basis, Prompts(tuple(texts), vectors, {}))


def config(neutral=("things",), competing=True, temperature=10.0, threshold=0.5):
    return TextConfig(
        neutral=neutral, competing=competing, temperature=temperature, threshold=threshold
    )


def features_of(places, dims=5):
    """Features (h, w, D) that are those of the texts at these places of the list."""
    return torch.eye(dims)[torch.from_numpy(np.asarray(places).astype(np.int64))]


def relevancy_by_loop(text, contrast, temperature):
    """Reference: the definition of LERF, phrase by phrase."""
    lowest = math.inf
    for cosine in contrast:
        ours, theirs = math.exp(temperature * text), math.exp(temperature * cosine)
        lowest = min(lowest, ours / (ours + theirs))
    return lowest


@pytest.mark.parametrize("temperature", [1.0, 10.0, 100.0])
def test_relevancy_is_the_least_of_the_pairwise_softmaxes(temperature):
    rng = np.random.default_rng(0)
    text, contrast = rng.uniform(-1, 1, (3, 4)), rng.uniform(-1, 1, (3, 4, 5))
    found = relevancy(text, contrast, temperature)
    expected = [
        [relevancy_by_loop(text[i, j], contrast[i, j], temperature) for j in range(4)]
        for i in range(3)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_known_relevancies():
    # Equal: a half. 0.1 ahead at temperature 10: e / (e + 1).
    found = relevancy(np.array([0.3, 0.3]), np.array([[0.3, 0.1], [0.2, -1.0]]), 10.0)
    np.testing.assert_allclose(found, [0.5, math.e / (math.e + 1)])


def test_a_high_temperature_neither_overflows_nor_ties_what_is_unlike():
    text = np.array([-0.9, -0.5, 0.0])
    found = relevancy(text, np.full((3, 1), 1.0), 300.0)
    assert np.isfinite(found).all() and (np.diff(found) > 0).all() and found[0] > 0


def test_a_pixel_belongs_to_the_text_that_it_is_most_like():
    places = np.array([[0, 1, 2], [3, 0, 4]])
    found = TextSegmenter(query_of(), config()).find(features_of(places), "a red cup")
    np.testing.assert_array_equal(found.mask, places == 0)
    e = math.exp(10)
    expected = np.array([[e / (e + 1), 1 / (e + 1), 1 / (e + 1)], [1 / (e + 1), e / (e + 1), 0.5]])
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)


def test_a_feature_as_much_like_the_text_as_like_a_phrase_is_not_found():
    features = torch.zeros(1, 3, 5)
    features[0, 1, :4] = 1.0
    found = TextSegmenter(query_of(), config()).find(features, "a red cup")
    np.testing.assert_array_equal(found.scores[0, [0, 2]], 0.5)
    assert not found.mask[0, [0, 2]].any()


def test_competing_prompts_take_part_only_if_asked():
    features = torch.zeros(1, 1, 5)
    features[0, 0] = torch.tensor([0.6, 0.8, 0.0, 0.0, 0.0])  # more a jar than a cup
    for competing, found in ((True, False), (False, True)):
        segmenter = TextSegmenter(query_of(), config(competing=competing))
        assert segmenter.find(features, "a red cup").mask.item() == found
    assert TextSegmenter(query_of(), config()).contrast("the jar") == (
        "a red cup",
        "things",
        "a table",
    )
    alone = TextSegmenter(query_of(), config(competing=False))
    assert alone.contrast("the jar") == ("things",)


def test_two_texts_for_one_label_do_not_compete():
    segmenter = TextSegmenter(query_of(("a purple box", "The purple box", "things")), config())
    assert segmenter.contrast("a purple box") == ("things",)
    assert segmenter.contrast("The purple box") == ("things",)
    both = torch.tensor([0.6, 0.8, 0.0, 0.0, 0.0]).expand(1, 1, 5)
    assert segmenter.find(both, "a purple box").mask.all()


def test_other_words_for_the_object_do_not_compete_if_they_are_named():
    segmenter = TextSegmenter(query_of(("a purple box", "violet carton", "things")), config())
    assert segmenter.contrast("violet carton") == ("a purple box", "things")
    assert segmenter.contrast("violet carton", ["purple box"]) == ("things",)
    both = torch.tensor([0.8, 0.6, 0.0, 0.0, 0.0]).expand(1, 1, 5)
    assert not segmenter.find(both, "violet carton").mask.any()
    assert segmenter.find(both, "violet carton", ["purple box"]).mask.all()


def test_the_threshold_is_that_of_the_settings():
    features = torch.tensor([[[0.6, 0.5, 0.0, 0.0, 0.0]]])  # its lead: 0.1 / |x|
    lead = 0.1 / math.hypot(0.6, 0.5)
    score = 1 / (1 + math.exp(-10 * lead))
    for threshold in (score - 1e-4, score + 1e-4):
        found = TextSegmenter(query_of(), config(threshold=threshold)).find(features, "a red cup")
        assert found.scores.item() == pytest.approx(score, rel=1e-6)
        assert found.mask.item() == (threshold < score)


def test_texts_that_are_not_embedded_are_refused():
    message = r"not among the embedded prompts: 'a bowl'; found \['a red cup', .*embed it with"
    with pytest.raises(ValueError, match=message):
        TextSegmenter(query_of(), config(neutral=("things", "a bowl")))
    with pytest.raises(ValueError, match=message):
        TextSegmenter(query_of(), config()).find(features_of([[0]]), "a bowl")


def test_a_text_without_any_other_phrase_is_refused():
    segmenter = TextSegmenter(query_of(("a red cup", "the red cup")), config(neutral=()))
    with pytest.raises(ValueError, match="'a red cup': no other phrase to compare it with"):
        segmenter.find(features_of([[0]]), "a red cup")


def test_settings_without_any_contrast_are_refused():
    with pytest.raises(ValidationError, match="nothing to compare a text with"):
        config(neutral=(), competing=False)
    with pytest.raises(ValidationError, match="temperature"):
        config(temperature=0.0)


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
