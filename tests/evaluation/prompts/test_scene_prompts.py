import logging

import numpy as np
import pytest

from gsn.evaluation.prompts.prompt import TextPrompt
from gsn.evaluation.prompts.prompt_file import read_prompts, write_prompt
from gsn.evaluation.prompts.scene_prompts import StrokeConfig, gather_prompts
from gsn.evaluation.prompts.strokes import draw_stroke
from gsn.strict_yaml import validate

NAMES = ("v0", "v1", "v2", "v3")
HELD_OUT = (True, False, False, True)
SIZE = (24, 28)
STROKES = StrokeConfig(seeds=(4, 9), width_px=3)
LINE = {"lines": [[[5, 5], [8, 5]]], "line_width_px": 1}


@pytest.fixture
def gather(tmp_path):
    """Return what gathers the prompts of a scene of four views, of which two are held out."""

    def run(masks, labels=("cup", "jar"), strokes=STROKES):
        folder = tmp_path / "prompts"
        return gather_prompts(folder, NAMES, HELD_OUT, SIZE, masks, labels, strokes)

    return run


@pytest.fixture
def write(write_prompt_file, tmp_path):
    """Return what writes a prompt file of a line in the cup, or of a text."""

    def run(name, thing, **entries):
        if "text" not in entries:
            entries = {"view": "v1", "positive": LINE} | entries
        write_prompt_file(tmp_path / "prompts", name, thing, **entries)

    return run


def keys(prompts):
    return [(one.label, one.draw, one.view) for one in prompts]


def test_an_object_without_file_gets_a_stroke_for_each_seed_inside_of_its_mask(gather, room_mask):
    pixels, texts = gather({1: room_mask})
    assert texts == []
    assert keys(pixels) == [(label, draw, "v1") for label in ("cup", "jar") for draw in (0, 1)]
    for prompt in pixels:
        whole = room_mask == 1 + ("cup", "jar").index(prompt.label)
        np.testing.assert_array_equal(prompt.reference, whole)
        seed = STROKES.seeds[prompt.draw]
        np.testing.assert_array_equal(prompt.positive, draw_stroke(whole, seed, 3))
        assert prompt.negative is None


def test_an_object_that_a_file_points_at_gets_no_stroke_and_others_do(gather, write, room_mask):
    write("one", "cup", view="v2")
    write("two", "cup", reference=room_mask == 1)
    pixels, _ = gather({1: room_mask, 2: room_mask})
    assert keys(pixels) == [
        *(("cup", 0, "v2"), ("cup", 1, "v1")),
        *(("jar", 0, "v1"), ("jar", 1, "v1")),
    ]
    # A prompt by hand has the reference of its file, or else the mask of its own view.
    np.testing.assert_array_equal(pixels[0].reference, room_mask == 1)
    np.testing.assert_array_equal(pixels[1].reference, room_mask == 1)
    assert pixels[0].positive[5, 5:9].all() and pixels[0].positive.sum() == 4
    np.testing.assert_array_equal(pixels[2].reference, room_mask == 2)


def test_the_reference_of_a_file_goes_before_the_mask_of_its_view(gather, write, room_mask):
    write("one", "cup", reference=room_mask > 0)
    pixels, _ = gather({1: room_mask})
    np.testing.assert_array_equal(pixels[0].reference, room_mask > 0)


def test_a_prompt_in_a_view_without_mask_has_no_reference(gather, write, room_mask):
    write("one", "cup", view="v2")
    write("two", "lid", view="v1")
    pixels, _ = gather({1: room_mask})
    assert [prompt.reference for prompt in pixels[:2]] == [None, None]


def test_a_prompt_beside_the_mask_of_its_name_has_no_reference(
    gather, write, room_mask, caplog, tmp_path
):
    write("one", "jar")  # its pixels are those of the cup
    pixels, _ = gather({1: room_mask})
    assert pixels[0].reference is None
    assert "jar in view v1: no pixel of the prompt lies in the mask of that name" in caplog.text
    write_prompt(tmp_path / "again", "one", pixels[0])
    assert len(read_prompts(tmp_path / "again", NAMES, HELD_OUT, SIZE)) == 1


def test_equal_seeds_are_refused():
    with pytest.raises(ValueError, match=r"seeds \[0, 1, 0\]: expected each once"):
        StrokeConfig(seeds=(0, 1, 0), width_px=3)


def test_what_a_file_points_at_is_not_told_to_be_without_prompt(gather, write, room_mask, caplog):
    write("one", "cup")
    with caplog.at_level(logging.INFO):
        gather({1: np.where(room_mask == 1, 1, 0).astype(np.uint8)}, ("cup", "jar"))
    assert "no stroke for jar: no source view shows it" in caplog.text
    assert "cup" not in caplog.text


def test_words_for_an_object_do_not_take_its_strokes(gather, write, room_mask):
    write("words", "cup", text="a cup")
    pixels, texts = gather({1: room_mask})
    assert texts == [TextPrompt("cup", "a cup")]
    assert [one.label for one in pixels] == ["cup", "cup", "jar", "jar"]


def test_a_file_may_point_at_what_no_mask_names(gather, write, room_mask):
    write("lamp", "lamp")
    pixels, _ = gather({1: room_mask})
    assert [one.label for one in pixels] == ["lamp", "cup", "cup", "jar", "jar"]
    pixels, _ = gather({}, labels=())
    assert keys(pixels) == [("lamp", 0, "v1")]


def test_two_values_of_one_label_are_one_object(gather, write, room_mask):
    pixels, _ = gather({1: room_mask}, labels=("cup", "cup"))
    assert keys(pixels) == [("cup", 0, "v1"), ("cup", 1, "v1")]
    np.testing.assert_array_equal(pixels[0].reference, room_mask > 0)
    write("one", "cup")
    pixels, _ = gather({1: room_mask}, labels=("cup", "cup"))
    assert keys(pixels) == [("cup", 0, "v1")]


def test_without_files_and_masks_there_are_no_prompts(gather, room_mask):
    assert gather({}, labels=()) == ([], [])
    assert gather({1: np.zeros_like(room_mask)}) == ([], [])


def test_the_masks_that_are_given_stay_as_they_are(gather, write, room_mask):
    write("one", "cup")
    before = room_mask.copy()
    gather({1: room_mask})
    np.testing.assert_array_equal(room_mask, before)


@pytest.mark.parametrize("view", [0, 3])
def test_the_mask_of_a_held_out_view_is_refused(gather, room_mask, view):
    with pytest.raises(ValueError, match=rf"source_masks: .* got held-out \['v{view}'\]"):
        gather({1: room_mask, view: room_mask})


def test_a_file_that_points_at_a_held_out_view_is_refused(gather, write, room_mask):
    write("one", "cup", view="v3")
    with pytest.raises(ValueError, match=r"one\.yaml: .*'v3' is a held-out view"):
        gather({1: room_mask})


def test_settings_are_read_from_yaml():
    assert validate({"seeds": [4, 9], "width_px": 3}, StrokeConfig) == STROKES


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"seeds": [], "width_px": 3}, "seeds"),
        ({"seeds": [-1], "width_px": 3}, "seeds.0"),
        ({"seeds": [0], "width_px": 0}, "width_px"),
        ({"seeds": [0]}, "'width_px' is missing"),
        ({"seeds": [0], "width_px": 3, "colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_settings_that_draw_nothing_are_refused(values, fault):
    with pytest.raises(ValueError, match=fault):
        validate(values, StrokeConfig)
