from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.evaluation.metrics.feature_metrics import score_features
from gsn.evaluation.metrics.image_metrics import score_image
from gsn.evaluation.metrics.mask_metrics import score_mask
from gsn.evaluation.objects import StrokeConfig, make_queries
from gsn.evaluation.scene_scores import RenderConfig, SceneScorer, held_out_views
from gsn.evaluation.text import TextSegmentation
from gsn.evaluation.views import mean_view, nearest_view, render_view, true_view
from gsn.features.basis import Basis
from gsn.features.prompts import Prompts, TextQuery
from gsn.geometry.cell_grid import CellGrid
from gsn.model.sources import TeacherMaps

RENDER = RenderConfig(source_views=3, pixel_stride=2, chunk_rays=500)
STROKE = StrokeConfig(seed=0, width_px=2, n_clusters=2, distance="cosine")
LABELS = ("cup", "jar")
HELD_OUT = (0, 3)
MASK = np.zeros((24, 28), np.uint8)
MASK[4:20, 4:12] = 1
MASK[8:20, 16:24] = 2


@pytest.fixture(scope="module")
def scene(make_scene):
    """Every view shows the same two objects, and the teacher tells them apart."""
    plain = make_scene(held_out=HELD_OUT)
    cells = torch.from_numpy(MASK[::4, ::4].astype(np.int64))
    maps = torch.eye(4)[cells].permute(2, 0, 1).expand(6, -1, -1, -1).clone()
    return replace(plain, teacher=TeacherMaps(maps.half(), CellGrid.of_patches((4, 4))))


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(4)


def scorer_of(model, scene, masks, lpips=None, text=None):
    return SceneScorer(model, scene, masks, LABELS, RENDER, STROKE, lpips, text)


@pytest.fixture(scope="module")
def scorer(model, scene):
    return scorer_of(model, scene, dict.fromkeys(range(6), MASK))


@pytest.fixture(scope="module")
def result(scorer):
    return scorer.score(3)


def fitted(scorer):
    return {
        (method, value): (query.label, query.threshold, query.prompt.centroids.tolist())
        for method, queries in scorer._queries.items()
        for value, query in queries.items()
    }


def test_the_model_and_both_baselines_are_compared_with_the_truth(scorer, scene, result):
    truth = true_view(scene, 3, 2)
    rendered = render_view(scorer._model, scene, 3, scorer._pool, 3, 2, 99)
    views = {"model": rendered, "nearest_view": nearest_view(scene, 3, 2)}
    views["mean_view"] = mean_view(scene, 3, 3, 2)
    assert result.name == "noise_3"
    for method, view in views.items():
        expected = score_image(view.rgb, truth.rgb, None)
        expected |= score_features(view.feature, truth.feature)
        found = {name: result.scores[method][name] for name in expected}
        assert found == pytest.approx(expected, rel=1e-4)


def test_objects_are_scored_in_every_kind_of_view(scorer, result):
    names = {"iou", "accuracy", "average_precision"}
    assert set(result.scores) == {"model", "nearest_view", "mean_view", "teacher_on_photo"}
    assert set(result.scores["teacher_on_photo"]) == names
    for method in ("model", "nearest_view", "mean_view"):
        assert names < set(result.scores[method])
    by_hand = []
    for value, query in scorer._queries["model"].items():
        predicted, scores = query.find(result.rendered.feature)
        by_hand.append(score_mask(predicted, MASK[::2, ::2] == value, scores))
    for name in names:
        mean = sum(row[name] for row in by_hand) / 2
        assert result.scores["model"][name] == pytest.approx(mean)


def test_a_teacher_that_tells_objects_apart_segments_them_without_fault(result):
    # All views are alike here, so what copies the teacher's features is without fault as well.
    for method in ("teacher_on_photo", "nearest_view", "mean_view"):
        assert result.scores[method]["iou"] == 1
        assert result.scores[method]["average_precision"] == pytest.approx(1)


def test_each_method_is_asked_by_a_stroke_on_its_own_features_of_a_source_view(scorer, scene):
    view = 1  # all show the same: the first that is not held out
    rendered = render_view(scorer._model, scene, view, scorer._pool, 3, 2, 500)
    features = {"model": rendered.feature, "teacher_on_photo": true_view(scene, view, 2).feature}
    features |= dict.fromkeys(("nearest_view", "mean_view"), features["teacher_on_photo"])
    for method, feature in features.items():
        expected = make_queries(feature, MASK[::2, ::2], LABELS, STROKE)
        for value, query in expected.items():
            found = fitted(scorer)[method, value]
            assert found[:2] == (query.label, pytest.approx(query.threshold))
            np.testing.assert_allclose(found[2], query.prompt.centroids.numpy(), rtol=1e-5)
    assert fitted(scorer)["model", 1] != fitted(scorer)["teacher_on_photo", 1]


def test_queries_never_see_a_target_mask(model, scene, scorer):
    garbage = np.random.default_rng(0).integers(0, 3, MASK.shape, dtype=np.uint8)
    masks = {view: garbage if view in HELD_OUT else MASK for view in range(6)}
    assert fitted(scorer_of(model, scene, masks)) == fitted(scorer)
    without = {view: mask for view, mask in masks.items() if view not in HELD_OUT}
    assert fitted(scorer_of(model, scene, without)) == fitted(scorer)


def test_queries_never_see_a_target_photo_or_its_teacher_map(model, scene, scorer):
    images, maps = scene.images.clone(), scene.teacher.values.clone()
    images[list(HELD_OUT)] = 0
    maps[list(HELD_OUT)] = 1
    other = replace(scene, images=images, teacher=TeacherMaps(maps, scene.teacher.grid))
    masks = dict.fromkeys(range(6), MASK)
    assert fitted(scorer_of(model, other, masks)) == fitted(scorer)


def test_masks_of_held_out_views_alone_give_no_query(model, scene):
    result = scorer_of(model, scene, dict.fromkeys(HELD_OUT, MASK)).score(3)
    assert "iou" not in result.scores["model"]
    assert "teacher_on_photo" not in result.scores
    assert result.segmentation is None


def test_a_view_without_mask_is_scored_without_segmentation(model, scene):
    masks = {view: MASK for view in (0, 1, 2, 4, 5)}
    result = scorer_of(model, scene, masks).score(3)
    assert "iou" not in result.scores["model"]
    assert result.segmentation is None


def test_without_teacher_maps_colour_alone_is_scored(make_model, make_scene):
    scene = make_scene(held_out=HELD_OUT, channels=None)
    scorer = scorer_of(make_model(), scene, dict.fromkeys(range(6), MASK))
    scores = scorer.score(3).scores
    assert {tuple(found) for found in scores.values()} == {("psnr_db", "ssim")}
    assert set(scores) == {"model", "nearest_view", "mean_view"}


def test_a_model_without_head_is_not_asked_for_objects(make_model, scene):
    result = scorer_of(make_model(), scene, dict.fromkeys(range(6), MASK)).score(3)
    assert set(result.scores["model"]) == {"psnr_db", "ssim"}
    assert result.scores["teacher_on_photo"]["iou"] == 1
    assert result.segmentation is None


def test_only_objects_in_the_target_view_are_scored(model, scene, scorer):
    one = np.where(MASK == 2, MASK, 0).astype(np.uint8)
    masks = dict.fromkeys(range(6), MASK) | {3: one}
    result = scorer_of(model, scene, masks).score(3)
    predicted, scores = scorer._queries["model"][2].find(result.rendered.feature)
    expected = score_mask(predicted, one[::2, ::2] == 2, scores)
    assert result.scores["model"]["iou"] == pytest.approx(expected["iou"])


def test_the_object_that_pictures_show_is_the_largest_of_the_view(scorer, result):
    assert result.segmentation.label == "cup"
    np.testing.assert_array_equal(result.segmentation.truth, MASK[::2, ::2] == 1)
    predicted, _ = scorer._queries["model"][1].find(result.rendered.feature)
    np.testing.assert_array_equal(result.segmentation.predicted, predicted)


def test_lpips_is_asked_for_every_method(model, scene):
    pairs = []

    def lpips(render, photo):
        pairs.append((render, photo))
        return torch.tensor(0.25)

    result = scorer_of(model, scene, {}, lpips).score(3)
    assert [found["lpips"] for found in result.scores.values()] == [0.25] * 3
    photo = true_view(scene, 3, 2).rgb.permute(2, 0, 1)[None]
    assert all(torch.equal(pair[1], photo) for pair in pairs)


@pytest.fixture(scope="module")
def text():
    """Texts whose directions are those of the table and the two objects in the teacher's maps."""
    basis = Basis(np.full(4, 0.2), np.eye(4), np.ones(4), np.full(4, 0.25), 9, {})
    vectors = np.eye(4, dtype=np.float32)[:3]
    return TextQuery(basis, Prompts(("a table", "a cup", "the jar"), vectors, {}), 2.0)


TEXT_KEYS = {"text_iou", "text_accuracy", "text_ap"}


def test_objects_are_found_by_texts_in_every_kind_of_view(model, scene, text):
    result = scorer_of(model, scene, dict.fromkeys(range(6), MASK), text=text).score(3)
    for method in ("teacher_on_photo", "nearest_view", "mean_view"):
        # Between cells features are mixed, which costs objects their corners.
        assert result.scores[method]["text_iou"] > 0.95
        assert result.scores[method]["text_ap"] > 0.95
    expected = TextSegmentation(text, LABELS).score(result.rendered.feature, MASK[::2, ::2])
    assert expected.keys() == TEXT_KEYS
    found = {key: result.scores["model"][key] for key in TEXT_KEYS}
    assert found == pytest.approx(expected)
    assert "iou" in result.scores["model"]


def test_texts_need_neither_a_stroke_nor_a_mask_of_a_source_view(model, scene, text):
    result = scorer_of(model, scene, {3: MASK}, text=text).score(3)
    assert set(result.scores["teacher_on_photo"]) == TEXT_KEYS
    assert TEXT_KEYS < set(result.scores["model"])


def test_without_prompts_or_features_or_mask_no_text_is_scored(
    model, make_model, scene, scorer, result, text
):
    masks = dict.fromkeys(range(6), MASK)
    assert not any(TEXT_KEYS & set(scores) for scores in result.scores.values())
    colour_alone = scorer_of(make_model(), scene, masks, text=text).score(3).scores
    assert not TEXT_KEYS & set(colour_alone["model"])
    assert TEXT_KEYS < set(colour_alone["nearest_view"])
    unmasked = scorer_of(model, scene, {0: MASK}, text=text).score(3).scores
    assert not any(TEXT_KEYS & set(scores) for scores in unmasked.values())
    assert "teacher_on_photo" not in unmasked


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, [1, 2, 4, 6, 7]), (9, [1, 2, 4, 6, 7]), (3, [1, 4, 7]), (2, [1, 7]), (1, [1])],
)
def test_some_of_the_held_out_views_are_picked_evenly(make_scene, limit, expected):
    scene = make_scene(n_views=8, held_out=(1, 2, 4, 6, 7), channels=None)
    assert held_out_views(scene, limit) == expected
