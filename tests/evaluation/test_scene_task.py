import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.captures.pack import open_pack
from gsn.evaluation.object_search import ObjectSearch, Search
from gsn.evaluation.prompts.strokes import draw_stroke
from gsn.evaluation.scene_scores import SceneScorer
from gsn.evaluation.scene_task import make_task
from gsn.evaluation.views.rendering import View

TARGETS = [0, 3]
SOURCES = (1, 2, 4, 5)


@pytest.fixture
def task_of(tmp_path, room, write_room, config):
    """Return what writes the room with some masks and reads what is asked of it."""

    def build(masks, query=None, labels=("cup", "jar"), cfg=config, split="unseen"):
        write_room(tmp_path / "room.h5", room, masks, labels)
        with open_pack(tmp_path / "room.h5") as pack:
            return make_task(pack, tmp_path / "prompts", query, cfg, split)

    return build


def prompts_of(task):
    return [
        (one.label, one.draw, one.view, one.positive.tolist(), one.reference.tolist())
        for one in task.prompts
    ]


def garbage_masks(kind, mask):
    """Masks of held-out views that are wrong, and of source views as they are."""
    noise = np.random.default_rng(0).integers(0, 3, mask.shape, dtype=np.uint8)
    wrong = {
        "noise": noise,
        "swapped": np.choose(mask, [0, 2, 1]).astype(np.uint8),
        "empty": np.zeros_like(mask),
        "full": np.ones_like(mask),
    }
    sources = dict.fromkeys(SOURCES, mask)
    return sources if kind == "absent" else sources | dict.fromkeys(TARGETS, wrong[kind])


@pytest.mark.parametrize("kind", ["noise", "swapped", "empty", "full", "absent"])
def test_masks_of_held_out_views_change_scores_and_nothing_else(
    task_of, room_views, room_mask, make_query, config, kind
):
    def run(masks):
        task = task_of(masks, make_query())
        objects = ObjectSearch(task.prompts, room_views, config.segmentation)
        scorer = SceneScorer(
            room_views, objects, task.texts, task.truth, TARGETS, None, config.consistency
        )
        fitted = {place: str(one) for place, one in objects.segmenters.items()}
        texts = task.texts.find(room_views.of(TARGETS[1]))
        return task, fitted, texts, [scorer.score(target) for target in task.targets]

    honest, fitted, texts, results = run(dict.fromkeys(range(6), room_mask))
    fooled, fitted_blindly, texts_blindly, results_blindly = run(garbage_masks(kind, room_mask))
    assert prompts_of(fooled) == prompts_of(honest)
    assert fitted_blindly == fitted  # centroids, thresholds
    pairs = [(texts, texts_blindly)]
    pairs += [(a.found, b.found) for a, b in zip(results, results_blindly, strict=True)]
    for found, blindly in pairs:
        assert list(found) == list(blindly)
        for place, segmentation in found.items():
            np.testing.assert_array_equal(segmentation.mask, blindly[place].mask)
            np.testing.assert_array_equal(segmentation.scores, blindly[place].scores)
    for result, blind in zip(results, results_blindly, strict=True):
        assert blind.scores == result.scores
        assert [row.scores for row in blind.rows] != [row.scores for row in result.rows]


def test_strokes_are_drawn_in_a_mask_of_a_source_view(task_of, room_mask, config):
    more_seeds = replace(config, strokes=replace(config.strokes, seeds=(5, 7)))
    task = task_of({0: room_mask, 2: room_mask}, cfg=more_seeds)
    assert [(one.label, one.draw) for one in task.prompts] == [
        *(("cup", 0), ("cup", 1)),
        *(("jar", 0), ("jar", 1)),
    ]
    for prompt in task.prompts:
        whole = room_mask == 1 + ("cup", "jar").index(prompt.label)
        assert prompt.view == "room_2"
        np.testing.assert_array_equal(prompt.reference, whole)
        np.testing.assert_array_equal(prompt.positive, draw_stroke(whole, (5, 7)[prompt.draw], 2))


def test_the_truth_is_that_of_all_masks_at_the_pixels_of_the_grid(task_of, room_mask, config):
    task = task_of({2: room_mask, 3: np.where(room_mask == 2, 2, 0)}, cfg=config)
    truth = task.truth
    assert (truth.scene, truth.labels) == ("room", ("cup", "jar"))
    assert truth.view_names == tuple(f"room_{view}" for view in range(6))
    assert truth.boundary_tolerance == config.boundary_tolerance
    assert set(truth.masks) == {2, 3}
    np.testing.assert_array_equal(truth.of(2, "cup"), room_mask[::2, ::2] == 1)
    np.testing.assert_array_equal(truth.of(3, "jar"), room_mask[::2, ::2] == 2)
    assert not truth.of(3, "cup").any()
    strided = replace(config, pixel_stride=5)
    np.testing.assert_array_equal(
        task_of({2: room_mask}, cfg=strided).truth.of(2, "cup"), room_mask[::5, ::5] == 1
    )


def test_masks_of_held_out_views_alone_give_no_prompt(task_of, room_mask):
    task = task_of(dict.fromkeys(TARGETS, room_mask))
    assert task.prompts == []
    assert set(task.truth.masks) == set(TARGETS)


def test_the_split_says_how_many_views_and_frames(task_of, room_mask, config):
    unseen, seen = (task_of({}, split=split) for split in ("unseen", "seen"))
    assert (unseen.targets, unseen.n_frames) == (TARGETS, 2)
    assert (seen.targets, seen.n_frames) == ([0], 0)


def test_without_masks_and_prompt_files_nothing_is_searched_for(task_of, make_query):
    task = task_of({})
    assert (task.prompts, task.texts, task.truth.masks) == ([], None, {})
    # Embedded texts that name no object are contrast alone.
    assert task_of({}, make_query()).texts is None


def test_without_masks_prompt_files_say_what_to_search_for(
    task_of, write_prompt_file, tmp_path, room_mask, make_query
):
    folder = tmp_path / "prompts"
    line = {"lines": [[[4, 6], [8, 6]]], "line_width_px": 1}
    write_prompt_file(folder, "one", "lamp", positive=line)
    write_prompt_file(folder, "two", "vase", text="a shoe")
    task = task_of({}, make_query())
    (prompt,) = task.prompts
    assert (prompt.label, prompt.view, prompt.reference) == ("lamp", "room_1", None)
    assert prompt.positive[6, 4:9].all() and prompt.positive.sum() == 5
    assert task.truth.masks == {}
    assert set(found_by_texts(task)) == {Search("model", "vase", 0)}


def test_a_prompt_in_a_held_out_view_stops_the_run(task_of, write_prompt_file, tmp_path):
    folder = tmp_path / "prompts"
    write_prompt_file(folder, "a", "cup", view="room_3", positive={"points": [[4, 6]]})
    with pytest.raises(ValueError, match=r"a\.yaml: .*'room_3' is a held-out view"):
        task_of({})


def found_by_texts(task):
    """Masks of what texts find in a row of pixels, each of which is like one embedded text."""
    view = View(torch.zeros(1, 4, 3), torch.eye(4)[None])
    found = task.texts.find({"model": view})
    return {place: segmentation.mask[0].tolist() for place, segmentation in found.items()}


def test_embedded_texts_that_name_an_object_are_asked_for_with_or_without_article(
    task_of, room_mask, make_query
):
    task = task_of({2: room_mask}, make_query(("things", "a cup", "the jar", "Cup")))
    assert found_by_texts(task) == {
        Search("model", "cup", 0): [False, True, False, False],
        Search("model", "cup", 1): [False, False, False, True],
        Search("model", "jar", 0): [False, False, True, False],
    }


def test_a_text_of_a_prompt_file_stands_in_for_the_embedded_ones(
    task_of, write_prompt_file, tmp_path, room_mask, make_query
):
    write_prompt_file(tmp_path / "prompts", "t", "cup", text="a shoe")
    assert found_by_texts(task_of({2: room_mask}, make_query())) == {
        Search("model", "cup", 0): [False, False, False, True],
        Search("model", "jar", 0): [False, False, True, False],
    }


def test_a_text_that_is_not_embedded_stops_the_run_with_the_name_of_the_scene(
    task_of, write_prompt_file, tmp_path, make_query
):
    write_prompt_file(tmp_path / "prompts", "t", "cup", text="a mug")
    with pytest.raises(ValueError, match=r"^room: not among the embedded prompts: 'a mug'"):
        task_of({}, make_query())


def test_an_object_of_two_values_is_asked_for_once(task_of, room_mask, make_query):
    task = task_of(dict.fromkeys(range(6), room_mask), make_query(), labels=("cup", "cup"))
    assert [(one.label, one.draw) for one in task.prompts] == [("cup", 0)]
    np.testing.assert_array_equal(task.prompts[0].reference, room_mask > 0)
    assert set(found_by_texts(task)) == {Search("model", "cup", 0)}
    np.testing.assert_array_equal(task.truth.of(3, "cup"), room_mask[::2, ::2] > 0)


def test_a_teacher_that_reads_no_texts_is_told_of_those_in_files(
    task_of, write_prompt_file, tmp_path, room_mask, caplog
):
    write_prompt_file(tmp_path / "prompts", "t", "cup", text="a cup")
    with caplog.at_level(logging.WARNING):
        task = task_of({2: room_mask})
    assert task.texts is None
    assert "room: 1 prompts are texts, which this teacher does not read" in caplog.text
    caplog.clear()
    (tmp_path / "prompts" / "t.yaml").unlink()
    task_of({2: room_mask})
    assert "texts" not in caplog.text
