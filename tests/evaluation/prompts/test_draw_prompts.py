import logging

import numpy as np
import pytest

from gsn.evaluation.prompts.draw_prompts import (
    draw_prompts,
    object_areas,
    object_mask,
    pick_prompt_view,
    pick_views,
)
from gsn.evaluation.prompts.strokes import draw_stroke

LABELS = ("cup", "jar", "shoe")
NAMES = tuple(f"view{k}" for k in range(10))


def mask_with(**areas):
    """A mask of 100 pixels, of them so many of each value: `_2=9` are nine of value 2."""
    mask = np.zeros(100, np.uint8)
    start = 0
    for value, area in areas.items():
        mask[start : start + area] = int(value[1:])
        start += area
    return mask.reshape(10, 10)


def test_the_prompt_view_shows_most_objects():
    masks = {4: mask_with(_1=50), 7: mask_with(_1=1, _2=1), 9: mask_with(_2=60)}
    assert pick_prompt_view(masks, LABELS) == 7


def test_of_those_it_is_the_one_whose_smallest_object_is_largest():
    masks = {2: mask_with(_1=60, _3=5), 5: mask_with(_1=10, _2=9), 8: mask_with(_2=70, _3=8)}
    assert pick_prompt_view(masks, LABELS) == 5


def test_of_equals_it_is_the_first_and_without_objects_as_well():
    assert pick_prompt_view({6: mask_with(_1=9), 3: mask_with(_2=9)}, LABELS) == 3
    assert pick_prompt_view({6: mask_with(), 3: mask_with()}, LABELS) == 3


def test_values_of_one_label_are_one_object_to_the_choice_of_the_view():
    masks = {1: mask_with(_1=30, _2=30), 2: mask_with(_1=4, _3=4)}
    assert pick_prompt_view(masks, ("cup", "cup", "shoe")) == 2
    assert pick_prompt_view(masks, LABELS) == 1


def test_without_masks_there_is_no_view_to_choose():
    with pytest.raises(ValueError, match="expected the mask of at least one view"):
        pick_prompt_view({}, LABELS)


def test_areas_and_masks_are_those_of_all_values_of_a_label():
    labels, mask = ("cup", "jar", "cup"), mask_with(_1=5, _2=7, _3=11)
    assert object_areas(mask, labels) == {"cup": 16, "jar": 7}
    np.testing.assert_array_equal(object_mask(mask, labels, "cup"), (mask == 1) | (mask == 3))
    assert object_areas(mask_with(_1=2), ("cup", "jar")) == {"cup": 2, "jar": 0}


def test_objects_hidden_in_the_prompt_view_are_prompted_where_they_are_largest():
    masks = {
        1: mask_with(_1=30, _2=30),
        4: mask_with(_1=40, _3=5),
        6: mask_with(_3=9),
        8: mask_with(_3=9),
    }
    assert pick_views(masks, LABELS) == {"cup": 1, "jar": 1, "shoe": 6}


def test_an_object_that_no_view_shows_has_no_prompt_and_is_told(caplog):
    with caplog.at_level(logging.INFO):
        prompts = draw_prompts({2: mask_with(_2=30)}, NAMES, LABELS, [0], 3)
    assert [prompt.label for prompt in prompts] == ["jar"]
    assert "strokes in view view2 for jar" in caplog.text
    assert "no stroke for cup, shoe: no source view shows it" in caplog.text


@pytest.mark.parametrize("masks", [{}, {0: mask_with()}, {0: mask_with(), 5: mask_with()}])
def test_without_any_object_there_are_no_prompts(masks):
    assert draw_prompts(masks, NAMES, LABELS, [0, 1], 3) == []


def test_there_is_a_prompt_for_each_object_and_each_seed():
    masks = {3: mask_with(_1=30, _2=40), 5: mask_with(_3=20)}
    prompts = draw_prompts(masks, NAMES, LABELS, [7, 11], 1)
    found = [(prompt.label, prompt.draw, prompt.view) for prompt in prompts]
    of_one_view = [(label, draw, "view3") for label in ("cup", "jar") for draw in (0, 1)]
    assert found == [*of_one_view, ("shoe", 0, "view5"), ("shoe", 1, "view5")]
    for prompt, seed in zip(prompts, [7, 11] * 3, strict=True):
        inside = masks[int(prompt.view[-1])] == LABELS.index(prompt.label) + 1
        np.testing.assert_array_equal(prompt.reference, inside)
        np.testing.assert_array_equal(prompt.positive, draw_stroke(inside, seed, 1))
        assert prompt.negative is None


def test_a_stroke_may_lie_on_any_value_of_its_label():
    mask = mask_with(_1=20, _3=70)
    (prompt,) = draw_prompts({0: mask}, NAMES, ("cup", "jar", "cup"), [0], 1)
    assert prompt.label == "cup"
    assert prompt.reference.sum() == 90


def test_masks_of_two_sizes_are_refused():
    masks = {1: mask_with(_1=3), 2: np.zeros((10, 12), np.uint8)}
    with pytest.raises(ValueError, match=r"mask of view 'view2': expected shape \(10 10\)"):
        draw_prompts(masks, NAMES, LABELS, [0], 3)
