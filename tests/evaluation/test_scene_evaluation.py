import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.captures.pack import open_pack
from gsn.evaluation.config import PerSplit
from gsn.evaluation.report.film import count_frames
from gsn.evaluation.scene_evaluation import evaluate_scene
from gsn.evaluation.scene_task import make_task
from gsn.evaluation.views.render_cache import RenderCache
from gsn.evaluation.views.rendering import RenderConfig, SceneRenderer

TARGETS = (0, 3)
PICTURED = {"model", "carried_by_depth", "nearest_view", "mean_view"}
METHODS = PICTURED | {"colour_only", "teacher_on_photo"}
IMAGE = {"psnr_db", "ssim"}
FEATURE = {"feature_cosine", "feature_mse"}
CONSISTENCY = {"consistency_cosine", "consistency_pck", "consistency_points"}
MASK = {"iou", "accuracy", "boundary_f", "average_precision"}


@pytest.fixture
def evaluate(tmp_path, room, write_room, make_model, config):
    """Return what evaluates a scene with some masks, and the prompt files that lie in `prompts`."""

    def run(masks, scene=room, model=None, query=None, film=False, split="unseen"):
        frames = config.orbit.frames if film else PerSplit(unseen=0, seen=0)
        cfg = replace(config, orbit=replace(config.orbit, frames=frames))
        write_room(tmp_path / "room.h5", scene, masks)
        with open_pack(tmp_path / "room.h5") as pack:
            task = make_task(pack, tmp_path / "prompts", query, cfg, split)
        render = RenderConfig(cfg.source_views, cfg.pixel_stride, 1000)
        renderer = SceneRenderer(model or make_model(4), scene, render)
        cache = RenderCache(tmp_path / "renders", "model", torch.device("cpu"))
        images, films = tmp_path / "images", tmp_path / "films"
        return evaluate_scene(renderer, cache, task, cfg, None, images, films / "orbit.mp4")

    return run


@pytest.fixture
def masks(room_mask):
    return dict.fromkeys(range(6), room_mask)


def kinds(means):
    return {method: set(scores) for method, scores in means.items()}


def panel_titles(result):
    return [[panel.title for panel in row.panels] for row in result.section.rows]


def test_every_target_view_is_scored_and_pictured(evaluate, masks, tmp_path, make_query):
    result = evaluate(masks, query=make_query())
    assert result.name == result.section.name == "room"
    assert [row.view for row in result.section.rows] == ["room_0", "room_3"]
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"room_0.png", "room_3.png"}
    keys = {
        ("room", label, f"room_{view}", 0, method)
        for label in ("cup", "jar")
        for view in TARGETS
        for method in METHODS
    }
    assert {row.key for row in result.rows} == keys
    assert {row.key for row in result.text_rows} == {key for key in keys if "colour" not in key[4]}
    assert {method: len(found) for method, found in result.curves.items()} == dict.fromkeys(
        METHODS, 4
    )
    assert kinds(result.means) == {
        **dict.fromkeys(PICTURED, IMAGE | FEATURE | CONSISTENCY),
        **dict.fromkeys(METHODS - PICTURED, CONSISTENCY),
    }


def test_means_are_over_the_views(evaluate, masks):
    result = evaluate(masks)
    for method, scores in result.means.items():
        for name, value in scores.items():
            of_views = [row.scores[method][name] for row in result.section.rows]
            assert value == pytest.approx(sum(of_views) / 2)
    assert len({row.scores["model"]["psnr_db"] for row in result.section.rows}) == 2


def test_the_film_is_on_the_page_and_as_a_file_where_one_is_asked_for(evaluate, masks, tmp_path):
    film = tmp_path / "films" / "orbit.mp4"
    without = evaluate(masks, split="seen", film=True)
    assert without.section.film is None and not film.exists()
    assert [row.view for row in without.section.rows] == ["room_0"]
    result = evaluate(masks, film=True)
    assert result.section.film == film.read_bytes()
    assert count_frames(film) == 2


def test_a_second_evaluation_renders_nothing_and_says_the_same(
    evaluate, masks, monkeypatch, caplog
):
    first = evaluate(masks, film=True)

    def never(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr("gsn.evaluation.views.rendering.render_camera", never)
    with caplog.at_level(logging.INFO):
        second = evaluate(masks, film=True)
    # Two targets, the view of the prompts, and two frames.
    assert "room: 0 views rendered, 5 reused" in caplog.text
    assert (second.means, second.rows) == (first.means, first.rows)
    assert second.section.film == first.section.film


def test_without_masks_what_prompt_files_point_at_is_searched_and_pictured_not_scored(
    evaluate, write_prompt_file, tmp_path
):
    write_prompt_file(tmp_path / "prompts", "one", "lamp", positive={"rectangle": [4, 6, 8, 10]})
    result = evaluate({}, film=True)
    assert (result.rows, result.curves) == ([], {})
    for titles in panel_titles(result):
        assert titles[-2:] == ["score: lamp", "lamp (truth unknown)"]
    assert [panel.title for panel in result.section.prompts] == ["lamp in view room_1"]
    assert "No mask of a held-out view" in result.section.notes[0]
    assert kinds(result.means)["model"] == IMAGE | FEATURE | CONSISTENCY


def test_without_masks_and_prompt_files_pictures_and_features_are_scored(evaluate):
    result = evaluate({}, film=True)
    assert (result.rows, result.text_rows, result.curves) == ([], [], {})
    assert result.section.film
    assert kinds(result.means)["model"] == IMAGE | FEATURE | CONSISTENCY
    assert all("score" not in title for titles in panel_titles(result) for title in titles)
    assert result.section.prompts == []
    assert "No object is searched for" in result.section.notes[0]


def test_an_object_that_no_mask_names_is_found_beside_those_that_are_scored(
    evaluate, masks, write_prompt_file, tmp_path
):
    write_prompt_file(tmp_path / "prompts", "one", "lamp", positive={"points": [[1, 1]]})
    result = evaluate(masks)
    assert {row.object for row in result.rows} == {"cup", "jar"}
    titles = [panel.title for panel in result.section.prompts]
    assert titles == ["lamp in view room_1", "cup in view room_1", "jar in view room_1"]
    assert panel_titles(result)[0][-1] == "cup"


def test_a_target_view_without_the_object_has_no_average_precision(evaluate, masks, room_mask):
    jar_alone = np.where(room_mask == 2, room_mask, 0).astype(np.uint8)
    result = evaluate(masks | {3: jar_alone})
    scores = {(row.object, row.view): set(row.scores) for row in result.rows}
    assert scores["cup", "room_3"] == MASK - {"average_precision"}
    assert scores["cup", "room_0"] == scores["jar", "room_3"] == MASK
    assert {len(found) for found in result.curves.values()} == {3}


def test_a_model_without_feature_head_is_scored_by_its_pictures_and_colours(
    evaluate, masks, make_model
):
    result = evaluate(masks, model=make_model(), film=True)
    assert kinds(result.means)["model"] == IMAGE
    assert {row.method for row in result.rows} == METHODS - {"model"}
    assert result.section.film
    assert "rendered features" not in panel_titles(result)[0]


def test_without_teacher_maps_there_are_pictures_and_colours(
    evaluate, masks, make_model, make_scene
):
    bare = make_scene("room", held_out=TARGETS, channels=None)
    result = evaluate(masks, scene=bare, model=make_model())
    assert kinds(result.means) == {**dict.fromkeys(PICTURED, IMAGE), "colour_only": CONSISTENCY}
    assert {row.method for row in result.rows} == {"colour_only"}


def test_a_scene_without_held_out_views_has_prompts_and_no_scores(evaluate, room, room_mask):
    scene = replace(room, held_out=torch.zeros(6, dtype=torch.bool))
    result = evaluate({1: room_mask}, scene=scene)
    assert (result.means, result.rows, result.section.rows) == ({}, [], [])
    assert len(result.section.prompts) == 2


def test_one_rendered_view_has_no_other_to_be_consistent_with(evaluate, masks):
    alone = evaluate({}, split="seen")
    assert not any(CONSISTENCY & found for found in kinds(alone.means).values())
    # The view that prompts were drawn in is a rendered one, too.
    with_prompts = evaluate(masks, split="seen")
    assert all(CONSISTENCY <= found for found in kinds(with_prompts.means).values())
