"""Names, kinds and sizes of files that a capture folder may hold."""

import json
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsn.captures import user_files
from gsn.captures.capture import CaptureError
from gsn.captures.images import list_image_files, read_photographs
from gsn.captures.masks import read_depth, read_masks
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.llff import read_llff
from gsn.captures.readers.poses import read_poses_bounds
from gsn.captures.user_files import load_array, load_json, read_bytes

CONFIG = ReadConfig(factor=1, long_side_px=None, near_scale=0.9, far_scale=1.6, outlier_percent=0.0)
E_ACUTE, E_AND_ACUTE = "\u00e9", "e\u0301"  # é in one character (NFC), and in two (NFD)
IN_FOLDER = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_grey(path, value=255, size=(4, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, value, np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def renamed(scene, names):
    """Give the photographs of a capture other names, in the same order."""
    for path, name in zip(sorted((scene / "images").iterdir()), names, strict=True):
        path.rename(scene / "images" / name)
    return scene


@pytest.mark.parametrize(
    "names",
    [
        ["a b.png", "a  c.png", " lead.png"],
        ["-rf.png", "--help.png", "-.png"],
        [f"caf{E_ACUTE}.png", f"z{E_AND_ACUTE}.png", "日本.png"],
        ["a.b.c.png", "..a.png.png", "x.PNG"],
        ["'quote'.png", '"double".png', "$HOME;`ls`.png"],
    ],
)
def test_odd_names_are_names_of_views(write_scene, names):
    visible = [name if name[0] != "." else "x" + name for name in names]
    capture = read_llff(renamed(write_scene(n_views=3), sorted(visible)), CONFIG)
    assert capture.view_names == tuple(Path(name).stem for name in sorted(visible))


@pytest.mark.parametrize(
    "name", ["a\nb.png", "a\x1b[2J.png", "a\u202eb.png", "a\udcff.png", "\t.png"]
)
def test_a_name_that_cannot_be_printed_is_refused_in_a_line_that_can(tmp_path, name):
    write_grey(tmp_path / name)
    with pytest.raises(CaptureError, match="expected a name without control characters") as caught:
        list_image_files(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.jpg", "a.png"),
        ("Fern.jpg", "fern.jpg"),
        (f"{E_ACUTE}.jpg", f"{E_AND_ACUTE}.jpg"),
        (f"{E_ACUTE.upper()}.jpg", f"{E_AND_ACUTE}.png"),
        ("straße.jpg", "STRASSE.jpg"),
    ],
)
def test_two_names_that_are_one_on_some_disks_are_refused(tmp_path, first, second):
    for name in (first, second, "third.jpg"):
        (tmp_path / name).touch()
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes the two for one")
    with pytest.raises(CaptureError, match="same stem of ") as caught:
        list_image_files(tmp_path)
    assert repr(first) in str(caught.value)
    assert "third" not in str(caught.value)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_mask_belongs_to_its_view_in_either_coding_of_a_letter(tmp_path, form):
    write_grey(tmp_path / f"{unicodedata.normalize(form, E_ACUTE)}.png")
    np.save(tmp_path / f"{unicodedata.normalize(form, E_ACUTE)}.npy", np.ones((4, 6)))
    for view in (E_ACUTE, E_AND_ACUTE):
        assert read_masks(tmp_path, (view,), (4, 6)).values.all()
        assert (read_depth(tmp_path, (view,), (4, 6), 1.0) == 1).all()


def test_two_masks_of_one_view_are_refused(tmp_path):
    write_grey(tmp_path / "a.png")
    write_grey(tmp_path / "a.PNG", 0)
    with pytest.raises(CaptureError, match=r"same stem of \['a\.PNG', 'a\.png'\]"):
        read_masks(tmp_path, ("a",), (4, 6))


def test_what_is_no_file_is_left_out_and_told(tmp_path, caplog):
    write_grey(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    os.mkfifo(tmp_path / "c.png")  # reading it would wait for ever
    assert [path.name for path in list_image_files(tmp_path)] == ["a.png"]
    assert "b.png: left out" in caplog.text
    assert "c.png: left out" in caplog.text


def test_links_are_followed_even_out_of_the_folder(tmp_path):
    write_grey(tmp_path / "elsewhere" / "photo.png", 7)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(tmp_path / "elsewhere" / "photo.png")
    (path,) = list_image_files(tmp_path / "images")
    assert (read_photographs([path], CONFIG).images == 7).all()


@pytest.mark.parametrize("goal", ["nowhere.png", "a.png"])  # the second: in a circle
def test_a_link_that_leads_nowhere_is_refused(tmp_path, goal):
    (tmp_path / "a.png").symlink_to(tmp_path / goal)
    with pytest.raises(CaptureError, match=r"a\.png: a link that leads to no file"):
        list_image_files(tmp_path)


def test_a_capture_that_links_to_itself_is_read_once(write_scene):
    scene = write_scene(n_views=3)
    (scene / "again").symlink_to(scene)
    (scene / "images_2").symlink_to(scene / "images_2")
    assert read_llff(scene, CONFIG).images.shape[0] == 3


def test_an_unreadable_photograph_is_named(tmp_path, monkeypatch):
    write_grey(tmp_path / "a.png")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # for root may read everything
    with pytest.raises(CaptureError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read_photographs([tmp_path / "a.png"], CONFIG)


def test_an_empty_photograph_is_named(write_scene):
    scene = write_scene(n_views=3)
    (scene / "images" / "view1.png").write_bytes(b"")
    with pytest.raises(CaptureError, match=r"view1\.png: the file is empty"):
        read_llff(scene, CONFIG)


def test_a_file_larger_than_any_picture_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 40)  # takes no room
    with pytest.raises(CaptureError, match="1099511627776 bytes, expected at most 1073741824"):
        read_bytes(tmp_path / "a.png")


def npy(path, header, body=b"\0" * 64):
    text = header.encode()
    path.write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + body)
    return path


def header(descr="'<f8'", shape="(2, 4)"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


@pytest.mark.parametrize(
    "text",
    [
        header(shape="(1000000000000, 17)"),
        header(shape="(4294967296, 4294967296)"),
        header(shape=f"({10**30}, 17)"),
        header(shape="(-1, 17)"),
        header(descr="'|O'"),
        header(descr="('<f8', (1000000000,))"),
        header(descr="'nothing'"),
        "{[]: 1}", "{}", "", "(" * 5000, "[" * 9000, "-" * 9000 + "1", "{'descr': (",
    ],
)  # fmt: skip
def test_a_header_that_promises_what_is_not_there_takes_no_memory(tmp_path, text):
    with pytest.raises(
        CaptureError, match=r"x\.npy: cannot be read \(.*expected numbers"
    ) as caught:
        load_array(npy(tmp_path / "x.npy", text), "numbers")
    assert "\n" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_a_pickle_is_never_loaded(tmp_path, monkeypatch):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(CaptureError, match="Python objects"):
        load_array(tmp_path / "x.npy", "numbers")
    (tmp_path / "y.npy").write_bytes((tmp_path / "x.npy").read_bytes()[128:])
    with pytest.raises(CaptureError, match="does not begin as an"):
        load_array(tmp_path / "y.npy", "numbers")
    assert not (tmp_path / "sprung").exists()


@IN_FOLDER
@given(data=st.binary(max_size=400) | st.binary(max_size=300).map(lambda b: b"\x93NUMPY\1\0" + b))
def test_random_bytes_are_no_array_or_one(tmp_path, data):
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(CaptureError, match=r"x\.npy: "):
        read_poses_bounds(tmp_path / "x.npy")


NUMBERS = st.floats(width=64) | st.sampled_from([1e308, -1e308, 1e-320, np.nan, np.inf])


@IN_FOLDER
@given(data=st.data())
def test_any_table_of_cameras_is_refused_or_finite(write_scene, tmp_path, data):
    scene = tmp_path / "scene"
    if not scene.exists():
        write_scene(n_views=3)
        np.save(tmp_path / "good.npy", np.load(scene / "poses_bounds.npy"))
    table = np.load(tmp_path / "good.npy")
    for _ in range(data.draw(st.integers(1, 4))):
        table[data.draw(st.integers(0, 2)), data.draw(st.integers(0, 16))] = data.draw(NUMBERS)
    np.save(scene / "poses_bounds.npy", table)
    try:
        capture = read_llff(scene, CONFIG)
    except CaptureError:
        return
    assert np.isfinite(capture.cam_to_world).all()
    assert np.isfinite(capture.intrinsics).all()
    assert 0 < capture.near < capture.far < np.inf


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("0123") | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


@IN_FOLDER
@given(content=JSON)
def test_any_json_names_objects_or_is_refused(tmp_path, content):
    folder = tmp_path / "masks"
    write_grey(folder / "a.png", 0)
    (folder / "labels.json").write_text(json.dumps(content))
    try:
        masks = read_masks(folder, ("a",), (4, 6))
    except CaptureError as error:
        assert "\n" not in str(error)
    else:
        assert len(masks.labels) == len(content) == len(set(masks.labels))
        assert all(name and name.isprintable() for name in masks.labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"1": "cup", "1": "plate"}', "key '1' stands twice"),
        ("[" * 100_000, "nested too deep"),
        ("[NaN]", "NaN is no finite number"),
        ("[1e400]", "1e400 is no finite number"),
        ("[-Infinity]", "-Infinity is no finite number"),
        ("9" * 5000, "4300 digits"),
        ("", "Expecting value"),
        ("{'a': 1}", "Expecting property name"),
        (b"\xff", "invalid start byte"),
    ],
)
def test_json_of_no_meaning_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CaptureError, match=r"x\.json: not readable as JSON: .*" + message):
        load_json(tmp_path / "x.json")


def test_a_byte_order_mark_before_json_does_no_harm(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf[1, 2.5]")
    assert load_json(tmp_path / "x.json") == [1, 2.5]


def test_json_beyond_a_size_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(user_files, "MOST_JSON_BYTES", 3)
    (tmp_path / "x.json").write_text("[11]")
    with pytest.raises(CaptureError, match="4 bytes, expected at most 3"):
        load_json(tmp_path / "x.json")


def test_depth_beyond_single_precision_is_unknown(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1e300, 2.0], [1e-300, -1.0]]))
    got = read_depth(tmp_path, ("a",), (2, 2), 10.0)[0]
    np.testing.assert_array_equal(got, [[np.nan, 20.0], [np.nan, np.nan]])
