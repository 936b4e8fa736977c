import numpy as np
import pytest

from gsn.evaluation.report.strip import MARGIN_PX, TITLE_HEIGHT_PX, strip


def test_small_pictures_are_enlarged_by_a_whole_number_to_one_height():
    photo = np.random.default_rng(0).integers(0, 256, (144, 192, 3), np.uint8)
    cells = np.random.default_rng(1).integers(0, 256, (18, 24, 3), np.uint8)
    got = strip([("photo", photo), ("features", cells)])
    assert got.shape == (TITLE_HEIGHT_PX + 288 + MARGIN_PX, 3 * MARGIN_PX + 2 * 384, 3)
    rows = slice(TITLE_HEIGHT_PX, TITLE_HEIGHT_PX + 288)
    first = got[rows, MARGIN_PX : MARGIN_PX + 384]
    second = got[rows, 2 * MARGIN_PX + 384 : 2 * MARGIN_PX + 768]
    np.testing.assert_array_equal(first, photo.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(second, cells.repeat(16, axis=0).repeat(16, axis=1))


def test_large_pictures_keep_their_size():
    photo = np.random.default_rng(0).integers(0, 256, (378, 504, 3), np.uint8)
    got = strip([("photo", photo)])
    rows, columns = slice(TITLE_HEIGHT_PX, TITLE_HEIGHT_PX + 378), slice(MARGIN_PX, MARGIN_PX + 504)
    np.testing.assert_array_equal(got[rows, columns], photo)


def test_titles_are_dark_on_a_white_ground_and_differ():
    panel = np.zeros((288, 300, 3), np.uint8)
    first, second = (strip([(title, panel)]) for title in ("photo", "render"))
    head = first[:TITLE_HEIGHT_PX]
    assert head.min() < 100
    assert (head == 255).mean() > 0.9
    assert (first[:, :MARGIN_PX] == 255).all() and (first[-MARGIN_PX:] == 255).all()
    assert (head != second[:TITLE_HEIGHT_PX]).any()


def test_a_title_wider_than_its_picture_is_not_cut():
    narrow = np.zeros((288, 20, 3), np.uint8)
    title = "rendered features"
    alone, wide = strip([(title, narrow)]), strip([(title, np.zeros((288, 400, 3), np.uint8))])
    ink = [(image[:TITLE_HEIGHT_PX] < 255).sum() for image in (alone, wide)]
    assert ink[0] == ink[1]


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        strip([])


def test_a_grey_panel_is_refused_by_its_title():
    with pytest.raises(ValueError, match=r"panel 'depth': expected shape \(H W 3\)"):
        strip([("depth", np.zeros((5, 6), np.uint8))])


def test_smooth_enlargement_reaches_the_usual_height_and_interpolates():
    step = np.zeros((200, 100, 3), np.uint8)
    step[:, 50:] = 200
    got = strip([("render", step)], smooth=True)
    assert got.shape == (TITLE_HEIGHT_PX + 288 + MARGIN_PX, 2 * MARGIN_PX + 144, 3)
    row = got[TITLE_HEIGHT_PX + 100, MARGIN_PX : MARGIN_PX + 144, 0]
    assert {0, 200} < set(row.tolist())
    large = np.zeros((378, 504, 3), np.uint8)
    assert strip([("photo", large)], smooth=True).shape[0] == TITLE_HEIGHT_PX + 378 + MARGIN_PX
