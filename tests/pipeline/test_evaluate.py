import json
from dataclasses import replace

import numpy as np
import pytest

from gsn.captures.capture import Capture, Masks
from gsn.captures.pack import write_pack
from gsn.evaluation.scene_scores import ViewResult
from gsn.evaluation.views import true_view
from gsn.model.checkpoint import Checkpoint
from pipeline.evaluate import check_basis, check_unseen, read_masks, score_scene, write_metrics

ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def checkpoint_with(make_config):
    def build(basis_sha256, channels=4):
        return Checkpoint(make_config(), {}, 1, ["a"], channels, basis_sha256)

    return build


@pytest.mark.parametrize(
    ("known", "basis"),
    [
        ({"basis.npz": ONE}, ("basis.npz", ONE)),
        ({"a.basis.npz": ONE, "b.basis.npz": OTHER}, ("b.basis.npz", OTHER)),
        # A scene the model never saw, with a basis of its own.
        ({"a.basis.npz": ONE}, ("c.basis.npz", OTHER)),
        ({"a.basis.npz": ONE}, None),
    ],
)
def test_targets_that_the_model_can_render_are_taken(make_scene, checkpoint_with, known, basis):
    check_basis(replace(make_scene(), basis=basis), checkpoint_with(known))


@pytest.mark.parametrize(
    ("known", "basis"),
    [
        ({"basis.npz": ONE}, ("basis.npz", OTHER)),
        ({"a.basis.npz": ONE}, ("a.basis.npz", OTHER)),
        ({"a.basis.npz": ONE}, ("basis.npz", ONE)),
        ({"basis.npz": ONE}, ("a.basis.npz", ONE)),
    ],
)
def test_targets_in_another_basis_are_refused(make_scene, checkpoint_with, known, basis):
    scene = replace(make_scene("attic"), basis=basis)
    with pytest.raises(ValueError, match=r"scene 'attic': targets in the basis .* `dvc repro dist"):
        check_basis(scene, checkpoint_with(known))


def test_a_scene_of_the_training_list_is_not_unseen(checkpoint_with):
    checkpoint = checkpoint_with({})
    check_unseen(["b", "c"], checkpoint)
    with pytest.raises(ValueError, match=r"trained on a, which scenes\.test calls"):
        check_unseen(["b", "a"], checkpoint)


def test_an_imported_model_says_that_its_basis_is_unknown(make_scene, checkpoint_with):
    with pytest.raises(ValueError, match=r"basis .* is unknown"):
        check_basis(replace(make_scene(), basis=("basis.npz", ONE)), checkpoint_with({}))


def test_a_model_that_renders_no_features_takes_any_basis(make_scene, checkpoint_with):
    scene = replace(make_scene(), basis=("basis.npz", OTHER))
    check_basis(scene, checkpoint_with({}, channels=None))


def test_metrics_are_means_over_scenes_by_method_and_each_scene(tmp_path):
    scores = {
        "a": {"model": {"psnr_db": 20.0, "iou": 0.5}, "nearest_view": {"psnr_db": 12.0}},
        "b": {"model": {"psnr_db": 24.0}, "teacher_on_photo": {"iou": 0.75}},
    }
    write_metrics(tmp_path / "out" / "metrics.json", scores)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {
        "model": {"psnr_db": 22.0, "iou": 0.5},
        "nearest_view": {"psnr_db": 12.0},
        "teacher_on_photo": {"iou": 0.75},
        "scenes": scores,
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.json"]


def test_a_score_that_is_no_number_leaves_the_older_metrics(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(path, {"a": {"model": {"psnr_db": 20.0}}})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="finite 'psnr_db', got nan"):
        write_metrics(path, {"a": {"model": {"psnr_db": float("nan")}}})
    assert path.read_bytes() == before


class FakeScorer:
    """Gives each view its number as score."""

    def __init__(self, scene):
        self.scene = scene
        self.scored = []

    def score(self, target):
        self.scored.append(target)
        scores = {"model": {"psnr_db": float(target)}}
        if target == 4:
            scores["teacher_on_photo"] = {"iou": 0.5}
        view = true_view(self.scene, target, 2)
        return ViewResult(self.scene.view_names[target], view, view, scores, None)


@pytest.mark.parametrize(("limit", "views"), [(0, [0, 2, 4, 5]), (2, [0, 5]), (9, [0, 2, 4, 5])])
def test_held_out_views_are_scored_and_pictured_up_to_the_limit(make_scene, tmp_path, limit, views):
    scorer = FakeScorer(make_scene(held_out=(0, 2, 4, 5)))
    found = score_scene(scorer, tmp_path / "images", limit)
    assert scorer.scored == views
    expected = {"model": {"psnr_db": sum(views) / len(views)}}
    if 4 in views:
        expected["teacher_on_photo"] = {"iou": 0.5}
    assert found == expected
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {f"noise_{view}.png" for view in views}


def test_a_scene_without_held_out_views_has_no_scores(make_scene, tmp_path):
    scorer = FakeScorer(make_scene(held_out=()))
    assert score_scene(scorer, tmp_path / "images", 0) == {}


def write_with_masks(path, masks):
    capture = Capture(
        name="room",
        view_names=("a", "b", "c"),
        image_sha256=("a", "b", "c"),
        images=np.zeros((3, 4, 5, 3), np.uint8),
        intrinsics=np.tile(np.eye(3), (3, 1, 1)),
        cam_to_world=np.tile(np.eye(4), (3, 1, 1)),
        near=1.0,
        far=2.0,
        masks=masks,
    )
    write_pack(path, capture, np.array([True, False, False]))


def test_masks_are_read_by_view_with_the_names_of_their_objects(tmp_path):
    values = np.random.default_rng(0).integers(0, 3, (3, 4, 5), dtype=np.uint8)
    present = np.array([True, False, True])
    write_with_masks(tmp_path / "room.h5", Masks(("cup", "jar"), values, present))
    masks, labels = read_masks(tmp_path / "room.h5")
    assert labels == ("cup", "jar")
    assert sorted(masks) == [0, 2]
    for view, mask in masks.items():
        np.testing.assert_array_equal(mask, values[view])


def test_a_pack_without_masks_has_none(tmp_path):
    write_with_masks(tmp_path / "room.h5", None)
    assert read_masks(tmp_path / "room.h5") == ({}, ())
