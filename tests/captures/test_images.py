import hashlib

import cv2
import numpy as np
import pytest

from gsn.captures.capture import CaptureError
from gsn.captures.images import (
    list_image_files,
    nearest,
    pick_image_folder,
    read_photographs,
    same_aspect,
)
from gsn.captures.read_config import ReadConfig


def by_factor(factor):
    return ReadConfig(factor, None, 0.9, 1.6, 0.0)


def by_long_side(long_side_px):
    return ReadConfig(None, long_side_px, 0.9, 1.6, 0.0)


def fill(folder, size, names=("a.png", "b.png")):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(size[0])
    for name in names:
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def stored(tmp_path):
    """A scene stored at 80, 40 and 20 pixels."""
    for name, size in (("images", (60, 80)), ("images_2", (30, 40)), ("images_4", (15, 20))):
        fill(tmp_path / name, size)
    return tmp_path


def test_files_come_in_the_order_of_whole_names_and_others_are_left_out(tmp_path):
    for name in ("b.JPG", "a.jpeg", "a-b.PNG", "C.png", ".hidden.jpg", "notes.txt", "d.gif"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    names = [path.name for path in list_image_files(tmp_path)]
    assert names == ["C.png", "a-b.PNG", "a.jpeg", "b.JPG"]


def test_two_files_of_one_stem_are_refused(tmp_path):
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(CaptureError, match=r"same stem of \['a\.jpg', 'a\.png'\]"):
        list_image_files(tmp_path)


@pytest.mark.parametrize(
    ("cfg", "folder", "size"),
    [
        (by_factor(1), "images", (60, 80)),
        (by_factor(2), "images_2", (30, 40)),
        (by_factor(8), "images", (8, 10)),  # not stored: 60/8 = 7.5 rounds to even 8
        (by_long_side(100), "images", (60, 80)),  # never enlarged
        (by_long_side(50), "images", (38, 50)),  # 60 * 50/80 = 37.5 rounds to even 38
        (by_long_side(40), "images_2", (30, 40)),
        (by_long_side(16), "images_4", (12, 16)),
    ],
)
def test_the_smallest_folder_that_serves_is_read(stored, cfg, folder, size):
    picked = pick_image_folder(stored, cfg)
    assert picked.name == folder
    photographs = read_photographs(list_image_files(picked), cfg)
    assert photographs.images.shape == (2, *size, 3)


def test_an_empty_folder_and_a_folder_of_another_name_do_not_count(tmp_path):
    (tmp_path / "images").mkdir()
    fill(tmp_path / "images_8", (6, 8))
    fill(tmp_path / "images_old", (60, 80))
    assert pick_image_folder(tmp_path, by_long_side(30)).name == "images_8"


def test_a_factor_that_is_not_stored_is_refused_without_originals(tmp_path):
    fill(tmp_path / "images_8", (6, 8))
    with pytest.raises(
        CaptureError, match=r"found \['images_8'\], expected 'images_4' or 'images'"
    ):
        pick_image_folder(tmp_path, by_factor(4))


def test_shrinking_averages_over_pixel_areas(tmp_path):
    folder = fill(tmp_path / "images", (8, 12), names=("a.png",))
    stored = cv2.imread(str(folder / "a.png"))[..., ::-1].astype(np.float64)
    got = read_photographs([folder / "a.png"], by_factor(4)).images[0]
    for row in range(2):
        for column in range(3):
            block = stored[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert np.abs(got[row, column] - block.mean(axis=(0, 1))).max() <= 0.51


def test_the_hash_is_that_of_the_file(tmp_path):
    folder = fill(tmp_path / "images", (8, 12))
    files = list_image_files(folder)
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert list(read_photographs(files, by_factor(2)).sha256) == expected


def test_nearest_takes_the_value_below_the_centre_of_each_new_pixel():
    values = np.random.default_rng(0).integers(0, 9, (7, 10))
    for rows, columns in ((3, 4), (7, 10), (15, 23)):
        got = nearest(values, (rows, columns))
        for r in range(rows):
            for c in range(columns):
                # Centre of the new pixel, in old pixels measured from the edge.
                assert got[r, c] == values[int((r + 0.5) * 7 / rows), int((c + 0.5) * 10 / columns)]


def test_aspects_agree_within_two_percent_and_rounding():
    assert same_aspect((335, 504), (375, 564))
    assert same_aspect((2, 3), (3, 4))  # rounding of a tiny picture
    assert not same_aspect((375, 564), (375, 540))
    assert not same_aspect((40, 30), (30, 40))
