import numpy as np
import pytest

from gsn.evaluation.prompts.prompt import PixelPrompt

SIZE = (9, 12)


def mask_at(*pixels, size=SIZE):
    mask = np.zeros(size, bool)
    for row, column in pixels:
        mask[row, column] = True
    return mask


def prompt(positive, **masks):
    return PixelPrompt("cup", 0, "view1", positive, **masks)


def grid_by_loop(mask, stride):
    """Reference: each pixel marks the nearest pixel of the grid, the later one of two equals."""
    height, width = (-(-side // stride) for side in mask.shape)
    found = np.zeros((height, width), bool)
    for row, column in np.argwhere(mask):
        i = min(int(row / stride + 0.5), height - 1)
        j = min(int(column / stride + 0.5), width - 1)
        found[i, j] = True
    return found


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_each_pixel_of_a_stroke_marks_the_nearest_pixel_of_the_grid(stride):
    for row, column in np.ndindex(SIZE):
        alone = mask_at((row, column))
        expected = grid_by_loop(alone, stride)
        np.testing.assert_array_equal(prompt(alone).on_grid(stride).positive, expected)
        far = mask_at((8 if row < 4 else 0, 0))
        np.testing.assert_array_equal(
            prompt(far, negative=alone).on_grid(stride).negative, expected
        )


@pytest.mark.parametrize("stride", [2, 4])
def test_a_stroke_off_the_last_row_of_the_grid_is_kept_beside_others(stride):
    strokes = mask_at((7, 3), (0, 0), (2, 7), size=(8, 8))
    got = prompt(strokes).on_grid(stride).positive
    np.testing.assert_array_equal(got, grid_by_loop(strokes, stride))


def test_a_pixel_of_the_grid_in_which_both_sides_meet_is_negative():
    got = prompt(mask_at((3, 3), (8, 8)), negative=mask_at((4, 4), (0, 0))).on_grid(2)
    assert np.argwhere(got.positive).tolist() == [[4, 4]]
    assert np.argwhere(got.negative).tolist() == [[0, 0], [2, 2]]


def test_but_it_is_positive_where_nothing_else_is():
    got = prompt(mask_at((3, 3)), negative=mask_at((4, 4), (0, 0))).on_grid(2)
    assert np.argwhere(got.positive).tolist() == [[2, 2]]
    assert np.argwhere(got.negative).tolist() == [[0, 0]]
    got = prompt(mask_at((3, 3)), negative=mask_at((4, 4))).on_grid(2)
    assert np.argwhere(got.positive).tolist() == [[2, 2]]
    assert got.negative is None


def test_a_prompt_is_found_among_others():
    prompts = [prompt(mask_at((0, 0))) for _ in range(3)]
    assert prompts.index(prompts[2]) == 2


def test_a_grid_of_all_pixels_changes_nothing():
    rng = np.random.default_rng(0)
    positive, reference = rng.random((2, *SIZE)) < 0.3
    got = prompt(positive, reference=reference).on_grid(1)
    np.testing.assert_array_equal(got.positive, positive)
    np.testing.assert_array_equal(got.reference, reference)
    assert got.negative is None


def test_a_reference_is_taken_at_the_pixels_of_the_grid():
    reference = np.zeros(SIZE, bool)
    reference[3:7, 1:8] = True
    got = prompt(mask_at((4, 4)), reference=reference).on_grid(2)
    assert np.argwhere(got.reference).tolist() == [[2, 1], [2, 2], [2, 3], [3, 1], [3, 2], [3, 3]]


def test_a_reference_without_a_pixel_of_the_grid_is_dropped():
    between = mask_at((3, 3), (3, 5))
    got = prompt(between, reference=between).on_grid(2)
    assert got.reference is None
    assert got.positive.any()


def test_object_view_and_draw_stay_on_the_grid():
    got = PixelPrompt("cup", 3, "view7", mask_at((0, 0))).on_grid(2)
    assert (got.label, got.draw, got.view) == ("cup", 3, "view7")


@pytest.mark.parametrize("name", ["positive", "negative", "reference", "box"])
def test_a_mask_without_a_pixel_is_refused(name):
    masks = {"positive": mask_at((0, 0))} | {name: mask_at()}
    with pytest.raises(ValueError, match=f"'cup': {name}: expected a boolean array .* with 0"):
        prompt(**masks)


@pytest.mark.parametrize("name", ["positive", "negative", "reference", "box"])
def test_a_mask_of_numbers_is_refused(name):
    masks = {"positive": mask_at((0, 0))} | {name: np.ones(SIZE, np.uint8)}
    with pytest.raises(ValueError, match=f"{name}: expected a boolean array .* got uint8"):
        prompt(**masks)


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"negative: expected shape \(9 12\), got \(12, 9\)"):
        prompt(mask_at((0, 0)), negative=mask_at((0, 0)).T)


def test_a_box_alone_is_a_prompt_and_neither_is_none():
    assert prompt(None, box=mask_at((0, 0))).size == prompt(mask_at((0, 0))).size == SIZE
    with pytest.raises(ValueError, match="'cup': expected 'positive' or 'box', got neither"):
        prompt(None, reference=mask_at((0, 0)))


def test_a_box_without_outside_is_refused():
    with pytest.raises(ValueError, match="'cup': box: it covers the whole picture, expected"):
        prompt(None, box=np.ones(SIZE, bool))


def test_a_box_is_taken_at_the_pixels_of_the_grid_less_negative_ones():
    box = np.zeros(SIZE, bool)
    box[3:7, 1:8] = True
    got = prompt(None, box=box, negative=mask_at((4, 4), (6, 5))).on_grid(2)
    assert got.positive is None
    assert np.argwhere(got.box).tolist() == [[2, 1], [2, 3], [3, 1], [3, 2]]


def test_neither_inside_nor_outside_of_a_box_is_lost_on_the_grid():
    between = mask_at((3, 3), (3, 4), size=(8, 8))
    assert np.argwhere(prompt(None, box=between).on_grid(2).box).tolist() == [[2, 2]]
    around = prompt(None, box=~between).on_grid(2).box
    assert np.argwhere(~around).tolist() == [[2, 2]]
