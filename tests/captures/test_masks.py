import json

import cv2
import numpy as np
import pytest

from gsn.captures.capture import CaptureError
from gsn.captures.masks import read_depth, read_masks

NAMES = ("a", "b", "c")
RNG = np.random.default_rng(0)


def write_mask(folder, stem, values):
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{stem}.png"), values)


def labelled(tmp_path, values, labels):
    write_mask(tmp_path / "masks", "a", values)
    (tmp_path / "masks" / "labels.json").write_text(json.dumps(labels))
    return tmp_path / "masks"


def test_without_a_folder_there_are_no_masks_and_no_depth(tmp_path):
    assert read_masks(tmp_path / "masks", NAMES, (4, 6)) is None
    assert read_depth(tmp_path / "depth", NAMES, (4, 6), 1.0) is None


def test_a_black_and_white_mask_is_the_one_object(tmp_path):
    grey = np.array([[0, 127, 128, 255]] * 4, dtype=np.uint8)
    write_mask(tmp_path, "a", grey)
    write_mask(tmp_path, "c", np.stack([255 - grey] * 3, axis=-1))
    masks = read_masks(tmp_path, NAMES, (4, 4))
    assert masks.labels == ("object",)
    assert masks.present.tolist() == [True, False, True]
    expected = [[[0, 0, 1, 1]] * 4, [[0] * 4] * 4, [[1, 1, 0, 0]] * 4]
    np.testing.assert_array_equal(masks.values, expected)


def test_a_shrunk_mask_shows_the_object_where_it_fills_more_than_half(tmp_path):
    values = (RNG.random((12, 20)) < 0.5) * np.uint8(255)
    write_mask(tmp_path, "a", values)
    got = read_masks(tmp_path, NAMES, (3, 5)).values[0]
    for row in range(3):
        for column in range(5):
            block = values[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] > 0
            if block.sum() != 8:  # half and half is left to rounding
                assert got[row, column] == (block.sum() > 8)


def test_object_numbers_become_positions_in_the_list_of_names(tmp_path):
    values = np.array([[0, 3, 7], [7, 0, 3]], dtype=np.uint8)
    masks = read_masks(labelled(tmp_path, values, {"7": "plate", "3": "cup"}), NAMES, (2, 3))
    assert masks.labels == ("cup", "plate")
    np.testing.assert_array_equal(masks.values[0], [[0, 1, 2], [2, 0, 1]])


def test_shrinking_object_numbers_mixes_none(tmp_path):
    values = np.where(RNG.random((16, 16)) < 0.5, 1, 3).astype(np.uint8)
    folder = labelled(tmp_path, values, {"1": "cup", "2": "fork", "3": "plate"})
    got = read_masks(folder, NAMES, (5, 5)).values[0]
    assert set(np.unique(got)) == {1, 3}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"1": "cup"}, r"a\.png: values \[2\] name no object, expected 0 and \[1\]"),
        ({"1": "cup", "2": "cup"}, r"labels\.json: expected a name of its own"),
        ({"0": "table", "2": "cup"}, r"object numbers \[0, 2\], expected 1 to 255"),
        ({"one": "cup"}, r'labels\.json: invalid literal .*expected \{"1": "name"'),
        (["cup"], r'labels\.json: .*expected \{"1": "name"'),
        ({}, r"labels\.json: expected a name of its own"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, message):
    folder = labelled(tmp_path, np.full((4, 4), 2, dtype=np.uint8), labels)
    with pytest.raises(CaptureError, match=message):
        read_masks(folder, NAMES, (4, 4))


def test_object_numbers_without_labels_are_not_taken_for_an_empty_mask(tmp_path):
    write_mask(tmp_path, "a", np.ones((4, 4), dtype=np.uint8))
    with pytest.raises(CaptureError, match=r"values up to 1, expected 0 and 255, or .*labels"):
        read_masks(tmp_path, NAMES, (4, 4))


def test_a_coloured_mask_is_refused(tmp_path):
    write_mask(tmp_path, "a", RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    with pytest.raises(CaptureError, match="the mask has colours"):
        read_masks(tmp_path, NAMES, (4, 4))


def test_a_mask_of_another_aspect_is_refused(tmp_path):
    write_mask(tmp_path, "b", np.zeros((60, 40), dtype=np.uint8))
    with pytest.raises(CaptureError, match=r"b\.png: 40×60 pixels, .*read at 60×40"):
        read_masks(tmp_path, NAMES, (40, 60))


def test_masks_that_belong_to_no_view_are_refused_if_none_does(tmp_path):
    write_mask(tmp_path, "mask_a", np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(CaptureError, match=r"1 files of type \.png and none .* expected 'a\.png'"):
        read_masks(tmp_path, NAMES, (4, 4))


def test_masks_that_belong_to_no_view_are_counted_in_the_log(tmp_path, caplog):
    for stem in ("a", "x", "y"):
        write_mask(tmp_path, stem, np.zeros((4, 4), dtype=np.uint8))
    read_masks(tmp_path, NAMES, (4, 4))
    assert "2 files belong to no view" in caplog.text


def test_depth_is_scaled_and_unknown_where_it_is_no_depth(tmp_path):
    np.save(tmp_path / "b.npy", np.array([[1.0, 2.0], [0.0, np.inf]], dtype=np.float32))
    got = read_depth(tmp_path, NAMES, (2, 2), 2.5)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[1], [[2.5, 5.0], [np.nan, np.nan]])
    assert np.isnan(got[[0, 2]]).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 4), dtype=np.int64), r"found int64 \(4, 4\), expected \(rows, columns\)"),
        (np.ones((4, 4, 1)), r"found float64 \(4, 4, 1\)"),
        (np.array([[None]]), "cannot be read"),
        (np.ones((4, 90)), "90×4 pixels, expected the aspect"),
    ],
)
def test_depth_that_is_no_map_is_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(CaptureError, match=r"a\.npy: " + message):
        read_depth(tmp_path, NAMES, (4, 4), 1.0)
