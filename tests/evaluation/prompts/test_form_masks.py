import cv2
import numpy as np
import pytest

from gsn.captures.capture import CaptureError
from gsn.evaluation.prompts.form_masks import masks_of_form
from gsn.evaluation.prompts.prompt_form import Marks, PixelForm, PromptError

IMAGE = (24, 32)  # H, W that prompts are made on


def rectangle(x0, y0, x1, y1, size=IMAGE):
    mask = np.zeros(size, bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def form(positive=None, negative=None, reference=None, image=(IMAGE[1], IMAGE[0])):
    return PixelForm(1, "cup", "view1", image, positive, negative, reference)


@pytest.fixture
def masks(tmp_path):
    """Return what draws a form; its pictures lie in `tmp_path`."""
    return lambda *parts, size=IMAGE, **more: masks_of_form(
        tmp_path / "cup.yaml", form(*parts, **more), size
    )


def write(path, picture):
    cv2.imwrite(str(path), np.asarray(picture, np.uint8))


def halved(mask):
    """Any pixel of each block of 2 × 2."""
    return mask.reshape(mask.shape[0] // 2, 2, mask.shape[1] // 2, 2).any(axis=(1, 3))


def test_all_marks_of_a_side_are_its_union(masks, tmp_path):
    write(tmp_path / "a.png", 9 * rectangle(0, 0, 1, 1))
    write(tmp_path / "b.png", 9 * rectangle(30, 22, 31, 23))
    marks = Marks(
        strokes=("a.png", "b.png"),
        lines=(((5, 5), (9, 5)),),
        line_width_px=1,
        points=((20, 3), (21, 4)),
        rectangle=(11, 12, 13, 14),
    )
    expected = rectangle(0, 0, 1, 1) | rectangle(30, 22, 31, 23) | rectangle(5, 5, 9, 5)
    expected |= rectangle(20, 3, 20, 3) | rectangle(21, 4, 21, 4)
    area = rectangle(11, 12, 13, 14)
    found = masks(marks)
    np.testing.assert_array_equal(found.positive, expected)
    np.testing.assert_array_equal(found.box, area)
    assert found.negative is None and found.reference is None
    # On the other side an area is marked as strokes are.
    found = masks(Marks(points=((28, 5),)), marks)
    np.testing.assert_array_equal(found.negative, expected | area)
    assert found.box is None


def test_a_positive_rectangle_is_a_box_and_no_stroke(masks, tmp_path):
    write(tmp_path / "area.png", 255 * rectangle(8, 2, 11, 12))
    found = masks(Marks(rectangle=(2, 3, 9, 10), box="area.png"))
    assert found.positive is None
    np.testing.assert_array_equal(found.box, rectangle(2, 3, 9, 10) | rectangle(8, 2, 11, 12))
    small = masks(Marks(rectangle=(3, 3, 20, 14)), size=(6, 8))
    # Of blocks of 4 × 4: columns 0 and 5 and row 0 are covered by a quarter, row 3 by three.
    np.testing.assert_array_equal(small.box, rectangle(1, 1, 4, 3, (6, 8)))


@pytest.mark.parametrize("size", [(24, 32), (12, 16)])
def test_a_box_of_the_whole_picture_is_refused(masks, size):
    message = "cup.yaml: the rectangle or box of 'positive' covers the whole picture, expected"
    with pytest.raises(PromptError, match=message):
        masks(Marks(rectangle=(0, 0, 31, 23)), size=size)
    cut = masks(Marks(rectangle=(0, 0, 31, 23)), Marks(points=((4, 4),)), size=size)
    np.testing.assert_array_equal(cut.box, ~cut.negative)


def test_a_box_beside_the_image_leaves_the_strokes(masks, caplog):
    found = masks(Marks(points=((3, 4),), rectangle=(-9, 0, -2, 5)))
    assert found.box is None and found.positive.sum() == 1
    assert "2 of 3 points or corners lie outside" in caplog.text


def test_strokes_that_the_negative_covers_leave_the_box(masks):
    found = masks(Marks(points=((3, 4),), rectangle=(8, 8, 15, 15)), Marks(points=((3, 4),)))
    assert found.positive is None
    np.testing.assert_array_equal(found.box, rectangle(8, 8, 15, 15))


@pytest.mark.parametrize("size", [(24, 32), (12, 16), (6, 8), (3, 4), (48, 64), (23, 31)])
def test_single_points_survive_at_every_working_size(masks, size):
    for x, y in [(0, 0), (31, 23), (17, 11), (16.4, 5.6)]:
        found = masks(Marks(points=((x, y),)), size=size).positive
        rows, columns = np.nonzero(found)
        # The point lies where its pixel went: (x + 1/2) W/w - 1/2, to half a pixel of either.
        column = (x + 0.5) * size[1] / 32 - 0.5
        row = (y + 0.5) * size[0] / 24 - 0.5
        slack = 0.5 + max(0.5, size[1] / 64) + 1e-9
        assert abs(columns - column).max() <= slack and abs(rows - row).max() <= slack
        assert len(rows) == max(1, size[0] // 24) ** 2


def test_thin_lines_stay_connected_when_shrunk(masks):
    line = Marks(lines=(((1, 1), (30, 20)),), line_width_px=1)
    small = masks(line, size=(6, 8)).positive
    assert cv2.connectedComponents(small.astype(np.uint8), connectivity=8)[0] == 2
    np.testing.assert_array_equal(small, halved(halved(masks(line).positive)))


def test_a_reference_alone_is_the_positive_prompt_as_well(masks, tmp_path):
    whole = rectangle(3, 5, 20, 14)
    write(tmp_path / "whole.png", 255 * whole)
    found = masks(reference="whole.png")
    np.testing.assert_array_equal(found.positive, whole)
    np.testing.assert_array_equal(found.reference, whole)
    small = masks(reference="whole.png", size=(6, 8))  # blocks of 4 × 4
    np.testing.assert_array_equal(small.positive, small.reference)


def test_a_reference_shrinks_as_an_area_and_strokes_by_any_pixel(masks, tmp_path):
    write(tmp_path / "whole.png", 255 * rectangle(3, 3, 20, 14))
    write(tmp_path / "strokes.png", 255 * rectangle(3, 3, 20, 14))
    found = masks(Marks(strokes=("strokes.png",)), reference="whole.png", size=(6, 8))
    # Of blocks of 4 × 4: columns 0 and 5 and row 0 are covered by a quarter, row 3 by three.
    np.testing.assert_array_equal(found.reference, rectangle(1, 1, 4, 3, (6, 8)))
    np.testing.assert_array_equal(found.positive, rectangle(0, 0, 5, 3, (6, 8)))


def test_the_negative_corrects_the_positive(masks):
    positive, negative = Marks(rectangle=(2, 2, 20, 20)), Marks(rectangle=(10, 0, 30, 12))
    found = masks(positive, negative)
    cut = rectangle(10, 0, 30, 12)
    np.testing.assert_array_equal(found.negative, cut)
    np.testing.assert_array_equal(found.box, rectangle(2, 2, 20, 20) & ~cut)
    lines = Marks(lines=(((2, 8), (20, 8)),), line_width_px=1)
    np.testing.assert_array_equal(masks(lines, negative).positive, rectangle(2, 8, 9, 8))


def test_the_negative_corrects_a_reference_that_is_the_prompt_but_not_the_reference(
    masks, tmp_path
):
    whole = rectangle(4, 6, 20, 15)
    write(tmp_path / "whole.png", 255 * whole)
    found = masks(None, Marks(rectangle=(4, 6, 8, 15)), "whole.png")
    np.testing.assert_array_equal(found.positive, rectangle(9, 6, 20, 15))
    np.testing.assert_array_equal(found.reference, whole)


def test_a_pixel_in_which_both_meet_after_shrinking_is_negative(masks):
    positive = Marks(points=((4, 4), (10, 10)))
    found = masks(positive, Marks(points=((5, 5), (20, 20))), size=(12, 16))
    assert np.argwhere(found.positive).tolist() == [[5, 5]]
    assert np.argwhere(found.negative).tolist() == [[2, 2], [10, 10]]


def test_but_it_is_positive_where_nothing_else_is(masks):
    found = masks(Marks(points=((4, 4),)), Marks(points=((5, 5), (20, 20))), size=(12, 16))
    assert np.argwhere(found.positive).tolist() == [[2, 2]]
    assert np.argwhere(found.negative).tolist() == [[10, 10]]


def test_sides_that_cannot_be_told_apart_are_refused(masks):
    points = Marks(points=((4, 4),)), Marks(points=((5, 5),))
    message = r"cup.yaml: positive and negative fall into the same pixels of the 16×12 picture"
    with pytest.raises(PromptError, match=message):
        masks(*points, size=(12, 16))
    with pytest.raises(PromptError, match="'negative' covers every positive pixel"):
        masks(Marks(points=((4, 4),)), Marks(rectangle=(0, 0, 9, 9)))


def test_what_lies_outside_is_cut_off_with_a_warning(masks, caplog):
    found = masks(Marks(points=((31, 23), (32, 5), (-1, 5)), rectangle=(28, -4, 40, 1)))
    np.testing.assert_array_equal(found.positive, rectangle(31, 23, 31, 23))
    np.testing.assert_array_equal(found.box, rectangle(28, 0, 31, 1))
    message = "'positive': cut off at the border of the image of 32×24 pixels: 4 of 5 points or"
    assert message in caplog.text and "the first is [32.0, 5.0]" in caplog.text


def test_nothing_is_told_of_a_prompt_inside_the_image(masks, caplog):
    masks(Marks(points=((-0.5, -0.5), (31.4, 23.4))))
    assert caplog.text == ""


@pytest.mark.parametrize(
    "marks",
    [
        Marks(points=((32, 5), (5, 24))),
        Marks(rectangle=(-9, -9, -1, -1)),
        Marks(lines=(((40, 0), (40, 20)),), line_width_px=5),
    ],
)
def test_a_side_wholly_outside_is_refused(masks, marks):
    wholly = "lies wholly outside of the image of 32×24 pixels, expected x from 0 to 31 and y from"
    with pytest.raises(PromptError, match=rf"cup.yaml: 'positive' {wholly} 0 to 23"):
        masks(marks)
    with pytest.raises(PromptError, match=rf"cup.yaml: 'negative' {wholly} 0 to 23"):
        masks(Marks(points=((5, 5),)), marks)


def test_a_positive_outside_of_the_reference_is_refused(masks, tmp_path):
    write(tmp_path / "whole.png", 255 * rectangle(4, 6, 20, 15))
    with pytest.raises(PromptError, match="no pixel of 'positive' lies in 'reference'"):
        masks(Marks(points=((3, 3),)), None, "whole.png")


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((504, 378), (378, 504)),
        ((4032, 3024), (378, 504)),
        ((4000, 2667), (336, 504)),  # 336.04
        ((4000, 2660), (336, 504)),  # 335.16
        ((63, 47), (378, 504)),  # 504 / 8, 378 / 8 = 47.25
        ((3, 2), (378, 504)),
    ],
)
def test_an_image_that_could_be_resized_to_the_working_size_is_taken(masks, image, size):
    assert masks(Marks(points=((0, 0),)), image=image, size=size).positive.shape == size


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((378, 504), (378, 504)),
        ((504, 336), (378, 504)),
        ((4000, 2640), (336, 504)),  # 332.6
        ((4000, 3040), (378, 504)),  # 383.0
        ((63, 50), (378, 504)),
    ],
)
def test_an_image_of_another_aspect_is_refused(masks, image, size):
    message = rf"key 'image_size_px': {image[0]}×{image[1]}, expected the aspect .* 504×{size[0]}"
    with pytest.raises(PromptError, match=message):
        masks(Marks(points=((0, 0),)), image=image, size=size)


def test_a_picture_that_is_missing_is_told(masks):
    with pytest.raises(PromptError, match=r"cup.yaml: no file 'a.png' beside it: add it"):
        masks(Marks(strokes=("a.png",)))


def test_a_picture_of_another_size_is_told(masks, tmp_path):
    write(tmp_path / "a.png", np.ones((32, 24)))
    message = r"a.png: 24×32 pixels, expected 32×24 as 'image_size_px' of cup.yaml says"
    with pytest.raises(PromptError, match=message):
        masks(Marks(strokes=("a.png",)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_empty_picture_is_told(masks, tmp_path, channels):
    write(tmp_path / "a.png", np.zeros((*IMAGE, channels)))
    with pytest.raises(
        PromptError, match=r"a\.png: nothing is drawn, expected pixels that are not"
    ):
        masks(Marks(strokes=("a.png",)))


def test_a_picture_whose_ground_is_opaque_is_told(masks, tmp_path):
    picture = np.zeros((*IMAGE, 4))
    picture[..., 3] = 255
    picture[5:9, 5:9, :3] = 200
    write(tmp_path / "a.png", picture)
    with pytest.raises(PromptError, match=r"a\.png: every pixel is drawn, expected a transparent"):
        masks(Marks(strokes=("a.png",)))


def test_a_grey_mask_of_the_whole_image_is_taken(masks, tmp_path):
    write(tmp_path / "a.png", np.full(IMAGE, 255))
    assert masks(reference="a.png").positive.all()


def test_a_broken_picture_is_told(masks, tmp_path):
    write(tmp_path / "a.png", np.ones(IMAGE))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    with pytest.raises(CaptureError, match=r"a\.png: .*cut off"):
        masks(Marks(strokes=("a.png",)))
