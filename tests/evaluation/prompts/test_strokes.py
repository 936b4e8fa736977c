import cv2
import numpy as np
import pytest
from skimage.morphology import skeletonize

from gsn.captures.images import nearest
from gsn.evaluation.prompts.strokes import draw_stroke

ROWS, COLUMNS = np.mgrid[:60, :80]


def ring_with_bar() -> np.ndarray:
    """Draw a large ring, open to one side, and a small bar apart from it."""
    radius = np.hypot(ROWS - 30, COLUMNS - 35)
    ring = (radius > 12) & (radius < 26) & ~((COLUMNS > 35) & (abs(ROWS - 30) < 5))
    return ring | ((COLUMNS > 70) & (COLUMNS < 76) & (ROWS > 10) & (ROWS < 30))


def bar() -> np.ndarray:
    """Draw a bar of 21 × 90 pixels around row 15."""
    mask = np.zeros((30, 100), bool)
    mask[5:26, 5:95] = True
    return mask


def disc() -> np.ndarray:
    return np.hypot(ROWS - 30, COLUMNS - 40) < 25


OBJECTS = {
    "ring": ring_with_bar(),
    "bar": bar(),
    "disc": disc(),
    "full": np.ones((24, 32), bool),
    "thin": np.pad(np.ones((1, 40), bool), 3),
    "comb": (ROWS > 40) | (COLUMNS % 8 < 3),
    "parts": np.random.default_rng(0).random((30, 40)) < 0.3,
}


def n_parts(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


@pytest.mark.parametrize("width", [1, 3, 6])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_stroke_is_one_line_inside_the_object(name, width):
    mask = OBJECTS[name]
    for seed in range(6):
        stroke = draw_stroke(mask, seed, width)
        assert stroke.dtype == bool and stroke.shape == mask.shape
        assert stroke.any() and not (stroke & ~mask).any()
        assert n_parts(stroke) == 1


@pytest.mark.parametrize("name", OBJECTS)
def test_a_seed_makes_one_stroke_and_another_seed_another(name):
    mask = OBJECTS[name]
    np.testing.assert_array_equal(draw_stroke(mask, 3, 3), draw_stroke(mask, 3, 3))
    strokes = {draw_stroke(mask, seed, 3).tobytes() for seed in range(5)}
    assert len(strokes) > (1 if name == "parts" else 3)


@pytest.mark.parametrize("seed", range(8))
def test_the_largest_part_is_drawn_in(seed):
    assert not draw_stroke(ring_with_bar(), seed, width_px=1)[:, 68:].any()


@pytest.mark.parametrize("seed", range(8))
def test_a_stroke_runs_along_the_middle_for_a_good_part_of_the_object(seed):
    rows, columns = np.nonzero(draw_stroke(bar(), seed, width_px=3))
    # The skeleton is 70 long at least; ends lie 0.64 of it apart at least, 0.4 of that is drawn.
    assert columns.max() - columns.min() > 17
    halfway = abs(columns - (columns.min() + columns.max()) / 2) < 5
    assert (abs(rows[halfway] - 15) <= 3).all()


@pytest.mark.parametrize("name", ["ring", "bar", "comb"])
def test_a_thin_stroke_lies_on_the_skeleton_of_the_eroded_object(name):
    padded = np.pad(OBJECTS[name], 1)
    eroded = padded.copy()
    for axis, step in [(0, 1), (0, -1), (1, 1), (1, -1)]:
        eroded &= np.roll(padded, step, axis)
    skeleton = skeletonize(eroded)[1:-1, 1:-1]
    for seed in range(8):
        assert not (draw_stroke(OBJECTS[name], seed, width_px=1) & ~skeleton).any()


def test_seeds_draw_short_and_long_stretches_of_the_way():
    mask = np.pad(np.ones((1, 200), bool), 3)
    lengths = [int(draw_stroke(mask, seed, width_px=1).sum()) for seed in range(60)]
    # Ends lie 0.64 of the length apart at least, and 0.4 of the way is drawn at least.
    assert 0.64 * 0.4 * 200 - 2 <= min(lengths) < 0.64 * 0.7 * 200
    assert max(lengths) > 0.85 * 200


def test_strokes_of_many_seeds_cover_a_bar_from_end_to_end():
    drawn = np.any([draw_stroke(bar(), seed, width_px=3) for seed in range(40)], axis=0)
    columns = np.nonzero(drawn.any(axis=0))[0]
    assert columns.min() < 20 and columns.max() > 80


@pytest.mark.parametrize("seed", range(8))
def test_a_disc_whose_skeleton_is_a_point_gets_a_line_all_the_same(seed):
    rows, columns = np.nonzero(draw_stroke(disc(), seed, width_px=3))
    assert np.hypot(np.ptp(rows), np.ptp(columns)) > 10  # of 50


@pytest.mark.parametrize("seed", range(8))
def test_a_stroke_keeps_off_the_border_of_a_wide_object(seed):
    mask = np.zeros((40, 40), bool)
    mask[4:36, 4:36] = True
    assert not draw_stroke(mask, seed, width_px=3)[~np.pad(np.ones((28, 28), bool), 6)].any()


def test_a_thin_object_is_not_eroded_away():
    mask = np.zeros((12, 60), bool)
    mask[4:8, 5:55] = True  # as thin as twice the erosion takes
    assert np.ptp(np.nonzero(draw_stroke(mask, 0, width_px=3))[1]) > 10


def test_a_line_that_spills_over_a_gap_is_cut_off_there():
    mask = np.zeros((12, 60), bool)
    mask[[3, 4, 6, 7]] = True
    mask[5, 0] = True  # two arms, joined at the left
    for seed in range(8):
        assert n_parts(draw_stroke(mask, seed, width_px=9)) == 1


@pytest.mark.parametrize("width", [3, 5])
def test_the_width_is_that_asked_for(width):
    mask = np.zeros((40, 200), bool)
    mask[5:35] = True
    heights = draw_stroke(mask, 0, width).sum(axis=0)
    assert np.median(heights[heights > 0]) == width


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (1, 9), (3, 3)])
@pytest.mark.parametrize("corner", [(0, 0), (7, 3)])
def test_a_tiny_object_gets_a_stroke_of_at_least_one_pixel(shape, corner):
    mask = np.zeros((12, 15), bool)
    mask[corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]] = True
    for seed in range(4):
        stroke = draw_stroke(mask, seed, width_px=5)
        assert stroke.any() and not (stroke & ~mask).any()


def test_every_mask_of_nine_pixels_gets_a_stroke():
    for number in range(1, 512):
        mask = np.array([number >> bit & 1 for bit in range(9)], bool).reshape(3, 3)
        stroke = draw_stroke(mask, number, width_px=1)
        assert stroke.any() and not (stroke & ~mask).any(), number


def test_a_picture_of_one_pixel_is_drawn_on():
    np.testing.assert_array_equal(draw_stroke(np.ones((1, 1), bool), 0, 3), [[True]])


def test_the_masks_of_a_real_capture_get_lines_of_some_length(captures_folder):
    for path in sorted((captures_folder / "spin_statue" / "masks").iterdir())[::7]:
        stored = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
        mask = np.asarray(nearest(stored, (stored.shape[0] // 2, stored.shape[1] // 2)), bool)
        strokes = [draw_stroke(mask, seed, width_px=3) for seed in range(3)]
        assert all(np.ptp(np.nonzero(stroke)[0]) > 15 for stroke in strokes)
        assert all(0.002 < stroke.sum() / mask.sum() < 0.1 for stroke in strokes)
        assert len({stroke.tobytes() for stroke in strokes}) == 3


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="nothing to draw a stroke in"):
        draw_stroke(np.zeros((5, 5), bool), 0, 3)


def test_a_mask_of_labels_is_refused():
    with pytest.raises(ValueError, match="mask: expected a boolean array, got uint8"):
        draw_stroke(np.ones((5, 5), np.uint8), 0, 3)


def test_a_line_without_width_is_refused():
    with pytest.raises(ValueError, match="width_px: expected at least 1, got 0"):
        draw_stroke(np.ones((5, 5), bool), 0, 0)
