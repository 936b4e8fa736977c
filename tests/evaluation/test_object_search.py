import inspect
from dataclasses import replace

import numpy as np
import pytest

from gsn.evaluation.metrics.mask_metrics import score_mask
from gsn.evaluation.object_search import ObjectSearch, Search, TextSearch
from gsn.evaluation.prompts.prompt import TextPrompt
from gsn.evaluation.segmentation.relevancy import TextSegmenter
from gsn.evaluation.segmentation.segmenter import fit_segmenter
from gsn.evaluation.views.rendering import View
from gsn.model.sources import TeacherMaps

TARGET = 3  # held out
WITH_FEATURES = {
    "model",
    "carried_by_depth",
    "nearest_view",
    "mean_view",
    "colour_only",
    "teacher_on_photo",
}


@pytest.fixture(scope="module")
def prompts(make_prompt):
    return [make_prompt("cup"), make_prompt("cup", draw=1), make_prompt("jar", view="room_4")]


@pytest.fixture(scope="module")
def search(prompts, room_views, config):
    return ObjectSearch(prompts, room_views, config.segmentation)


@pytest.fixture(scope="module")
def text_segmenter(make_query, config):
    return TextSegmenter(make_query(), config.text)


def fitted(search, views):
    """What was fitted to prompts, as far as it shows: levels, and scores of a source view."""
    shown = views.of(2)
    found = search.find(shown)
    return {
        place: (one.threshold, one.confident, found[place].scores.tolist())
        for place, one in search.segmenters.items()
    }


def assert_found_alike(found, expected):
    assert found.keys() == expected.keys()
    for place, segmentation in found.items():
        np.testing.assert_array_equal(segmentation.mask, expected[place].mask)
        np.testing.assert_array_equal(segmentation.scores, expected[place].scores)


def test_every_prompt_is_put_to_every_method(search):
    prompts = [("cup", 0), ("cup", 1), ("jar", 0)]
    assert set(search.segmenters) == {
        Search(method, *prompt) for method in WITH_FEATURES for prompt in prompts
    }


def test_a_method_is_fitted_on_what_it_shows_of_the_view_of_the_prompt(
    search, prompts, room_views, config
):
    for prompt, view in zip(prompts, (1, 1, 4), strict=True):
        of_view = room_views.of(view)
        # The teacher's map of the prompt's own photo is at hand, as that of any source view.
        copied = dict.fromkeys(("nearest_view", "mean_view"), of_view["teacher_on_photo"])
        for method, shown in (of_view | copied).items():
            expected = fit_segmenter(
                shown.feature, shown.rgb, prompt.on_grid(2), config.segmentation
            )
            found = search.segmenters[Search(method, prompt.label, prompt.draw)]
            assert (found.threshold, found.confident) == (expected.threshold, expected.confident)
            other = room_views.of(2)[method]
            scores = (one(other.feature, other.rgb).scores for one in (found, expected))
            np.testing.assert_array_equal(*scores)
    # Another stroke and another method give another result.
    assert len({str(one) for one in fitted(search, room_views).values()}) > len(WITH_FEATURES)


def test_what_is_found_in_a_view_comes_of_the_features_of_the_method_in_that_view(
    search, room_views
):
    views = room_views.of(TARGET)
    found = search.find(views)
    assert set(found) == set(search.segmenters)
    for place, segmentation in found.items():
        view = views[place.method]
        expected = search.segmenters[place](view.feature, view.rgb)
        np.testing.assert_array_equal(segmentation.mask, expected.mask)
        np.testing.assert_array_equal(segmentation.scores, expected.scores)


def test_a_teacher_that_tells_objects_apart_finds_them_without_fault(search, room_views, room_mask):
    found = search.find(room_views.of(TARGET))
    # All views are alike here, so what copies the teacher's features is without fault as well.
    for method in ("teacher_on_photo", "nearest_view", "mean_view"):
        for value, label in enumerate(("cup", "jar"), start=1):
            segmentation = found[Search(method, label, 0)]
            truth = room_mask[::2, ::2] == value
            scores = score_mask(segmentation.mask, truth, segmentation.scores, 0.04)
            assert scores["iou"] == 1
            assert scores["average_precision"] == pytest.approx(1)


def test_methods_that_are_not_shown_or_have_no_features_find_nothing(search, room_views):
    views = room_views.of(TARGET)
    some = {method: views[method] for method in ("model", "nearest_view")}
    some["colour_only"] = replace(views["colour_only"], feature=None)
    found = search.find(some)
    assert {place.method for place in found} == {"model", "nearest_view"}
    assert search.find({}) == {}


def test_a_model_without_feature_head_searches_nothing_and_colour_does(
    prompts, make_model, make_views, room, make_scene, config
):
    views = make_views(make_model(), room)
    search = ObjectSearch(prompts, views, config.segmentation)
    assert {place.method for place in search.segmenters} == WITH_FEATURES - {"model"}
    views = make_views(make_model(), make_scene("room", held_out=(0, 3), channels=None))
    search = ObjectSearch(prompts, views, config.segmentation)
    assert {place.method for place in search.find(views.of(TARGET))} == {"colour_only"}


def test_without_prompts_nothing_is_rendered_and_nothing_found(
    make_model, make_views, room, room_views, config, monkeypatch
):
    views = make_views(make_model(4), room)
    monkeypatch.setattr(views, "prompted", None)
    search = ObjectSearch([], views, config.segmentation)
    assert search.find(room_views.of(TARGET)) == {}


def test_photos_and_teacher_maps_of_held_out_views_take_no_part(
    search, prompts, make_model, make_views, room, room_views, config
):
    images, maps = room.images.clone(), room.teacher.values.clone()
    images[[0, TARGET]] = 0
    maps[[0, TARGET]] = 1
    other = replace(room, images=images, teacher=TeacherMaps(maps, room.teacher.grid))
    views = make_views(make_model(4), other)
    blind = ObjectSearch(prompts, views, config.segmentation)
    assert fitted(blind, views) == fitted(search, room_views)

    def without_teacher(shown):
        return {method: view for method, view in shown.items() if method != "teacher_on_photo"}

    assert_found_alike(
        blind.find(without_teacher(views.of(TARGET))),
        search.find(without_teacher(room_views.of(TARGET))),
    )


def test_what_searches_a_view_takes_nothing_but_the_view():
    for kind in (ObjectSearch, TextSearch):
        assert list(inspect.signature(kind.find).parameters) == ["self", "views"]
    assert list(inspect.signature(ObjectSearch).parameters) == ["prompts", "views", "config"]
    assert list(inspect.signature(TextSearch).parameters) == ["prompts", "segmenter"]


def test_a_prompt_needs_no_reference(make_prompt, room_views, config):
    strokes = replace(make_prompt("cup"), reference=None)
    search = ObjectSearch([strokes], room_views, config.segmentation)
    assert set(search.find(room_views.of(TARGET))) == {
        Search(method, "cup", 0) for method in WITH_FEATURES
    }


class Asked:
    """Notes what it is asked for, in place of a segmenter of texts."""

    def __init__(self):
        self.questions = []

    def contrast(self, text, synonyms):
        return ("things",)

    def find(self, features, text, synonyms):
        self.questions.append((text, sorted(synonyms)))


TWO_WORDS = [TextPrompt("cup", "a mug"), TextPrompt("jar", "a jar"), TextPrompt("cup", "the cup")]


def test_texts_of_one_object_are_its_draws_and_do_not_compete(room_views):
    asked = Asked()
    found = TextSearch(TWO_WORDS, asked).find({"model": room_views.of(TARGET)["model"]})
    assert list(found) == [
        Search("model", "cup", 0),
        Search("model", "cup", 1),
        Search("model", "jar", 0),
    ]
    same = ["a mug", "cup", "the cup"]
    assert asked.questions == [("a mug", same), ("the cup", same), ("a jar", ["a jar", "jar"])]


def test_a_synonym_costs_an_object_nothing(make_query, config, room_views, room_mask):
    vectors = np.eye(4)[[0, 1, 1, 2]]  # the cup has two words of the same meaning
    query = make_query(("things", "a cup", "a mug", "the jar"), vectors)
    segmenter = TextSegmenter(query, config.text)
    views = {"teacher_on_photo": room_views.of(TARGET)["teacher_on_photo"]}
    truth = room_mask[::2, ::2] == 1
    prompts = [TextPrompt("cup", "a cup"), TextPrompt("cup", "a mug")]
    found = TextSearch(prompts, segmenter).find(views)
    for segmentation in found.values():
        assert score_mask(segmentation.mask, truth, segmentation.scores, 0.04)["iou"] > 0.95
    # Of two labels they are rivals: neither is more like the cup than the other is.
    rivals = [TextPrompt("cup", "a cup"), TextPrompt("beaker", "a mug")]
    found = TextSearch(rivals, segmenter).find(views)
    assert not any(segmentation.mask.any() for segmentation in found.values())


def test_texts_are_searched_in_the_features_of_every_method_that_has_the_teachers(
    text_segmenter, room_views
):
    views = room_views.of(TARGET)
    found = TextSearch([TextPrompt("jar", "the jar")], text_segmenter).find(views)
    assert {place.method for place in found} == WITH_FEATURES - {"colour_only"}
    for place, segmentation in found.items():
        expected = text_segmenter.find(views[place.method].feature, "the jar", ["jar"])
        np.testing.assert_array_equal(segmentation.mask, expected.mask)
        np.testing.assert_array_equal(segmentation.scores, expected.scores)


def test_texts_find_nothing_where_there_are_no_features_or_no_texts(text_segmenter, room_views):
    blind = {"model": View(room_views.of(TARGET)["model"].rgb, None)}
    assert TextSearch([TextPrompt("jar", "the jar")], text_segmenter).find(blind) == {}
    assert TextSearch([], text_segmenter).find(room_views.of(TARGET)) == {}


def test_a_text_that_cannot_be_asked_for_is_refused_before_any_view_is_searched(
    text_segmenter, make_query, config
):
    with pytest.raises(ValueError, match="not among the embedded prompts: 'a mug'"):
        TextSearch([TextPrompt("jar", "the jar"), TextPrompt("cup", "a mug")], text_segmenter)
    alone = TextSegmenter(make_query(("things", "a cup")), config.text)
    with pytest.raises(ValueError, match="'a cup': no other phrase to compare it with"):
        TextSearch([TextPrompt("cup", "a cup"), TextPrompt("cup", "things")], alone)
