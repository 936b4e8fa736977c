import numpy as np
import pytest

from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.report.marks import draw_mask, draw_prompt

PHOTO = np.random.default_rng(0).integers(0, 200, (12, 14, 3), np.uint8)


def box(rows, columns):
    mask = np.zeros((12, 14), bool)
    mask[rows, columns] = True
    return mask


POSITIVE, NEGATIVE = box(5, slice(4, 9)), box(slice(1, 9), 12)
OBJECT = box(slice(2, 10), slice(2, 11))


def test_strokes_are_green_and_red_and_the_object_is_outlined_in_white():
    drawn = draw_prompt(PHOTO, PixelPrompt("mug", 0, "view", POSITIVE, NEGATIVE, OBJECT))
    edge = OBJECT & ~box(slice(3, 9), slice(3, 10))
    assert (drawn[edge] == 255).all()
    for stroke, channel in ((POSITIVE, 1), (NEGATIVE, 0)):
        colours = np.unique(drawn[stroke], axis=0)
        assert len(colours) == 1
        assert colours[0].argmax() == channel and colours[0][channel] > 200
    untouched = ~(edge | POSITIVE | NEGATIVE)
    np.testing.assert_array_equal(drawn[untouched], PHOTO[untouched])


def test_a_prompt_may_be_positive_alone():
    drawn = draw_prompt(PHOTO, PixelPrompt("mug", 0, "view", POSITIVE))
    np.testing.assert_array_equal((drawn != PHOTO).any(axis=-1), POSITIVE)


def test_a_box_is_outlined_in_green():
    prompt = PixelPrompt("mug", 0, "view", None, box=OBJECT)
    drawn = draw_prompt(PHOTO, prompt)
    edge = OBJECT & ~box(slice(3, 9), slice(3, 10))
    np.testing.assert_array_equal((drawn != PHOTO).any(axis=-1), edge)
    (colour,) = np.unique(drawn[edge], axis=0)
    assert colour.argmax() == 1 and colour[1] > 200
    with pytest.raises(ValueError, match="prompt for 'mug': expected shape"):
        draw_prompt(PHOTO[1:], prompt)


def test_the_photo_itself_stays_as_it_was():
    before = PHOTO.copy()
    draw_prompt(PHOTO, PixelPrompt("mug", 0, "view", POSITIVE, NEGATIVE, OBJECT))
    np.testing.assert_array_equal(PHOTO, before)


def test_a_prompt_of_another_size_is_refused_by_its_label():
    with pytest.raises(ValueError, match=r"prompt for 'mug': expected shape \(12 14\), got"):
        draw_prompt(PHOTO, PixelPrompt("mug", 0, "view", np.ones((6, 7), bool)))


def test_a_mask_is_tinted_and_lets_the_photo_through():
    dark, light = (draw_mask(np.full_like(PHOTO, level), OBJECT) for level in (0, 255))
    assert (light[5, 5].astype(int) - dark[5, 5] > 40).all()
    assert (dark[2, 2:11] == 255).all()
    np.testing.assert_array_equal(dark[~OBJECT], 0)


def test_marks_in_an_enlarged_photo_stay_in_place():
    drawn = draw_prompt(PHOTO, PixelPrompt("mug", 0, "view", POSITIVE, None, OBJECT), scale=3)
    assert drawn.shape == (36, 42, 3)
    stroke = (drawn == drawn[16, 13]).all(axis=-1)
    np.testing.assert_array_equal(stroke, POSITIVE.repeat(3, axis=0).repeat(3, axis=1))
    assert draw_mask(PHOTO, OBJECT, scale=3).shape == (36, 42, 3)
