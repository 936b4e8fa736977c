from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.evaluation.metrics.consistency import PosedFeatures, score_consistency
from gsn.evaluation.metrics.feature_metrics import score_features
from gsn.evaluation.metrics.image_metrics import score_image
from gsn.evaluation.metrics.mask_metrics import score_mask
from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.object_search import ObjectSearch, Search, TextSearch
from gsn.evaluation.prompts.prompt import TextPrompt
from gsn.evaluation.scene_scores import SceneScorer, held_out_views
from gsn.evaluation.segmentation.relevancy import TextSegmenter
from gsn.evaluation.views.comparators import true_view

TARGET = 3  # held out
PICTURED = {"model", "carried_by_depth", "nearest_view", "mean_view"}
METHODS = PICTURED | {"colour_only", "teacher_on_photo"}
IMAGE = {"psnr_db", "ssim"}
FEATURE = {"feature_cosine", "feature_mse"}
CONSISTENCY = {"consistency_cosine", "consistency_pck", "consistency_points"}


@pytest.fixture
def truth_of(room, room_mask, config):
    """Return what makes the truth of the room; every view has a mask unless others are given."""

    def build(masks=None):
        known = dict.fromkeys(range(6), room_mask) if masks is None else masks
        masks = {view: mask[::2, ::2] for view, mask in known.items()}
        return TrueMasks("room", room.view_names, ("cup", "jar"), masks, config.boundary_tolerance)

    return build


@pytest.fixture
def scorer_of(room_views, make_prompt, config, truth_of):
    """Return what makes a scorer of the room, asked for the cup and the jar unless told else."""

    def build(truth=None, views=room_views, prompts=None, texts=None, rendered=(), lpips=None):
        prompts = [make_prompt("cup"), make_prompt("jar")] if prompts is None else prompts
        objects = ObjectSearch(prompts, views, config.segmentation)
        truth = truth_of() if truth is None else truth
        return SceneScorer(views, objects, texts, truth, list(rendered), lpips, config.consistency)

    return build


@pytest.fixture
def texts(make_query, config):
    prompts = [TextPrompt("cup", "a cup"), TextPrompt("jar", "the jar")]
    return TextSearch(prompts, TextSegmenter(make_query(), config.text))


def test_pictures_and_features_are_compared_with_the_photo_and_the_teacher(
    scorer_of, room, room_views
):
    result = scorer_of().score(TARGET)
    photo = true_view(room, TARGET, 2)
    assert (result.number, result.name) == (TARGET, "room_3")
    assert set(result.scores) == PICTURED
    for method in PICTURED:
        view = room_views.of(TARGET)[method]
        expected = score_image(view.rgb, photo.rgb, None)
        expected |= score_features(view.feature, photo.feature)
        assert result.scores[method] == pytest.approx(expected)
    assert set(result.views) == METHODS


def test_objects_are_scored_against_the_mask_of_the_view_for_every_method(
    scorer_of, room_views, room_mask
):
    scorer = scorer_of()
    result = scorer.score(TARGET)
    assert {row.key for row in result.rows} == {
        ("room", label, "room_3", 0, method) for method in METHODS for label in ("cup", "jar")
    }
    for row in result.rows:
        found = result.found[Search(row.method, row.object, 0)]
        truth = room_mask[::2, ::2] == 1 + ("cup", "jar").index(row.object)
        assert row.scores == score_mask(found.mask, truth, found.scores, 0.04)
    assert result.text_rows == []


def test_objects_that_texts_name_are_scored_apart(scorer_of, texts, room_views):
    result = scorer_of(texts=texts).score(TARGET)
    assert {(row.object, row.method) for row in result.text_rows} == {
        (label, method) for label in ("cup", "jar") for method in METHODS - {"colour_only"}
    }
    of_teacher = [row for row in result.text_rows if row.method == "teacher_on_photo"]
    # Between cells features are mixed, which costs objects their corners.
    assert all(row.scores["iou"] > 0.95 for row in of_teacher)
    assert len(result.rows) == 2 * len(METHODS)
    assert set(result.found) == {Search(m, o, 0) for m in METHODS for o in ("cup", "jar")}


def test_texts_need_no_stroke(scorer_of, texts):
    result = scorer_of(prompts=[], texts=texts).score(TARGET)
    assert result.rows == [] and result.found == {}
    assert len(result.text_rows) == 2 * (len(METHODS) - 1)


def garbage_masks(kind, mask):
    """Masks of held-out views that are wrong, and of source views as they are."""
    noise = np.random.default_rng(0).integers(0, 3, mask.shape, dtype=np.uint8)
    wrong = {
        "noise": noise,
        "swapped": np.choose(mask, [0, 2, 1]).astype(np.uint8),
        "empty": np.zeros_like(mask),
        "full": np.full_like(mask, 2),
    }
    sources = dict.fromkeys((1, 2, 4, 5), mask)
    return sources if kind == "absent" else sources | dict.fromkeys((0, TARGET), wrong[kind])


@pytest.mark.parametrize("kind", ["noise", "swapped", "empty", "full", "absent"])
def test_what_is_found_does_not_depend_on_masks_of_held_out_views(
    scorer_of, truth_of, texts, room_mask, kind
):
    honest = scorer_of(texts=texts, rendered=[0, 1, TARGET]).score(TARGET)
    truth = truth_of(garbage_masks(kind, room_mask))
    fooled = scorer_of(truth, texts=texts, rendered=[0, 1, TARGET]).score(TARGET)
    assert list(fooled.found) == list(honest.found)
    for place, segmentation in honest.found.items():
        np.testing.assert_array_equal(fooled.found[place].mask, segmentation.mask)
        np.testing.assert_array_equal(fooled.found[place].scores, segmentation.scores)
    assert fooled.scores == honest.scores  # no mask takes part in these
    for rows, others in ((fooled.rows, honest.rows), (fooled.text_rows, honest.text_rows)):
        assert [row.scores for row in rows] != [row.scores for row in others]
        assert len(rows) == (0 if kind == "absent" else len(others))


def test_a_view_without_its_object_has_scores_but_no_average_precision(
    scorer_of, truth_of, room_mask
):
    without = np.where(room_mask == 2, room_mask, 0).astype(np.uint8)
    result = scorer_of(truth_of(dict.fromkeys(range(6), room_mask) | {TARGET: without})).score(3)
    of_cup = [row.scores for row in result.rows if row.object == "cup"]
    assert len(of_cup) == len(METHODS)
    assert all(set(scores) == {"iou", "accuracy", "boundary_f"} for scores in of_cup)
    assert [scores["iou"] for scores in of_cup] == [0.0] * len(METHODS)


def test_without_masks_objects_are_searched_and_not_scored(scorer_of, truth_of, texts):
    result = scorer_of(truth_of({}), texts=texts).score(TARGET)
    assert len(result.found) == 2 * len(METHODS)
    assert result.rows == result.text_rows == []


def posed(views, method, view):
    shown = views.of(view)
    camera = views.scene.cameras[torch.tensor([view])]
    return PosedFeatures(shown[method].feature, shown["model"].depth, camera, 2)


@pytest.mark.parametrize(("rendered", "partner"), [([0, 1, 4, TARGET], 4), ([0, TARGET, 1], 1)])
def test_consistency_is_with_the_nearest_rendered_view_at_the_rendered_depth(
    scorer_of, room_views, config, rendered, partner
):
    result = scorer_of(rendered=rendered).score(TARGET)
    assert set(result.scores) == METHODS
    for method, scores in result.scores.items():
        expected = score_consistency(
            posed(room_views, method, TARGET),
            posed(room_views, method, partner),
            config.consistency,
        )
        assert set(expected) == CONSISTENCY
        assert {key: scores[key] for key in CONSISTENCY} == pytest.approx(expected)


@pytest.mark.parametrize("rendered", [[], [TARGET]])
def test_a_single_rendered_view_has_no_consistency(scorer_of, rendered):
    result = scorer_of(rendered=rendered).score(TARGET)
    assert not any(CONSISTENCY & set(scores) for scores in result.scores.values())


def test_a_model_without_feature_head_is_scored_by_its_pictures(
    scorer_of, make_model, make_views, room
):
    views = make_views(make_model(), room)
    result = scorer_of(views=views, rendered=[1, TARGET]).score(TARGET)
    assert set(result.scores["model"]) == IMAGE
    assert set(result.scores["nearest_view"]) == IMAGE | FEATURE | CONSISTENCY
    assert {row.method for row in result.rows} == METHODS - {"model"}


def test_without_teacher_maps_pictures_are_scored_and_colours_searched(
    scorer_of, make_model, make_views, make_scene
):
    views = make_views(make_model(), make_scene("room", held_out=(0, TARGET), channels=None))
    result = scorer_of(views=views, rendered=[1, TARGET]).score(TARGET)
    assert {method: set(scores) for method, scores in result.scores.items()} == {
        **dict.fromkeys(PICTURED, IMAGE),
        "colour_only": CONSISTENCY,
    }
    assert {row.method for row in result.rows} == {"colour_only"}


def test_lpips_is_asked_for_every_picture(scorer_of, room, room_views):
    pairs = []

    def lpips(render, photo):
        pairs.append((render, photo))
        return torch.tensor(0.25)

    scores = scorer_of(lpips=lpips).score(TARGET).scores
    assert {method: scores[method]["lpips"] for method in PICTURED} == dict.fromkeys(PICTURED, 0.25)
    photo = true_view(room, TARGET, 2).rgb.permute(2, 0, 1)[None]
    assert len(pairs) == 4 and all(torch.equal(pair[1], photo) for pair in pairs)
    rendered = room_views.of(TARGET)["model"].rgb.permute(2, 0, 1)[None]
    assert torch.equal(pairs[0][0], rendered)


def test_a_better_picture_has_a_better_score(scorer_of, make_model, make_views, room):
    # The nearest source view of view 3 is made its double: to copy it is without fault.
    images, poses = room.images.clone(), room.cameras.cam_to_world.clone()
    images[4], poses[4] = images[TARGET], poses[TARGET]
    double = replace(room, images=images, cameras=replace(room.cameras, cam_to_world=poses))
    scores = scorer_of(views=make_views(make_model(4), double)).score(TARGET).scores
    assert scores["nearest_view"]["ssim"] == pytest.approx(1)
    assert scores["nearest_view"]["psnr_db"] > 100 > scores["mean_view"]["psnr_db"]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (0, [1, 2, 4, 6, 7]),
        (9, [1, 2, 4, 6, 7]),
        (4, [1, 2, 6, 7]),  # places 0, 1.3, 2.7, 4
        (3, [1, 4, 7]),
        (2, [1, 7]),
        (1, [1]),
    ],
)
def test_some_of_the_held_out_views_are_picked_evenly(limit, expected):
    held_out = [view in (1, 2, 4, 6, 7) for view in range(8)]
    assert held_out_views(held_out, limit) == expected


def test_without_held_out_views_there_are_none_to_score():
    assert held_out_views([False] * 4, 0) == held_out_views([False] * 4, 2) == []
