import struct
from pathlib import Path

import numpy as np
import pytest
from solved_scene import Camera, View, random_views, write_colmap_binary, write_colmap_text

from gsn.captures.capture import CaptureError
from gsn.captures.readers import colmap_binary, colmap_text
from gsn.captures.readers.colmap import read_model

CAMERAS = {
    1: Camera("SIMPLE_PINHOLE", 40, 30, (50.0, 20.5, 14.5)),
    3: Camera("PINHOLE", 40, 30, (50.0, 51.0, 20.5, 14.5)),
    4: Camera("SIMPLE_RADIAL", 40, 30, (50.0, 20.5, 14.5, 0.01)),
    7: Camera("RADIAL", 40, 30, (50.0, 20.5, 14.5, 0.01, 0.02)),
    9: Camera("OPENCV", 40, 30, (50.0, 51.0, 20.5, 14.5, 0.01, 0.02, 0.03, 0.04)),
}
HALF = 0.5**0.5
VIEWS = [  # a quarter turn about z, x, y
    View("a b.jpg", 3, (HALF, 0, 0, HALF), (1, 2, 3), (11, 10)),
    View("sub/é.png", 9, (HALF, HALF, 0, 0), (4, 5, 6), ()),
    View("-c.JPG", 1, (HALF, 0, HALF, 0), (0, 0, 0), (12,)),
]
POINTS = {12: (1.5, 2.5, 3.5), 10: (0.1, 0.2, 0.3), 11: (-1, -2, -3)}
TURNS = [
    [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
]
WRITE = {"binary": write_colmap_binary, "text": write_colmap_text}


@pytest.mark.parametrize("form", WRITE)
def test_a_model_is_read_as_it_was_written(tmp_path, form):
    WRITE[form](tmp_path, CAMERAS, VIEWS, POINTS)
    model = read_model(tmp_path)
    focal = {number: lens.focal for number, lens in model.lenses.items()}
    assert focal == {1: (50, 50), 3: (50, 51), 4: (50, 50), 7: (50, 50), 9: (50, 51)}
    assert {lens.centre for lens in model.lenses.values()} == {(20.5, 14.5)}
    assert {lens.size for lens in model.lenses.values()} == {(30, 40)}
    assert [lens.distortion for lens in model.lenses.values()] == [
        (0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0),
        (0.01, 0, 0, 0, 0),
        (0.01, 0.02, 0, 0, 0),
        (0.01, 0.02, 0.03, 0.04, 0),
    ]
    assert [(image.name, image.lens) for image in model.images] == [
        ("a b.jpg", 3),
        ("sub/é.png", 9),
        ("-c.JPG", 1),
    ]
    assert [image.seen.tolist() for image in model.images] == [[11, 10], [], [12]]
    for image, view, turn in zip(model.images, VIEWS, TURNS, strict=True):
        np.testing.assert_allclose(image.world_to_cam[:3, :3], turn, atol=1e-15)
        np.testing.assert_array_equal(image.world_to_cam[:3, 3], view.translation)
    assert model.points.numbers.tolist() == [10, 11, 12]
    assert model.points.positions.tolist() == [[0.1, 0.2, 0.3], [-1, -2, -3], [1.5, 2.5, 3.5]]


def test_both_forms_of_a_real_model_agree_to_the_last_digit_of_the_text(captures_folder):
    scene = captures_folder / "kermit_colmap"
    binary, text = read_model(scene / "sparse" / "0"), read_model(scene / "sparse_text")
    assert binary.lenses == text.lenses
    in_binary = sorted(binary.images, key=lambda image: image.name)
    in_text = sorted(text.images, key=lambda image: image.name)
    assert len(in_binary) == len(in_text) == 11
    for image, other in zip(in_binary, in_text, strict=True):
        assert (image.name, image.lens) == (other.name, other.lens)
        np.testing.assert_allclose(image.world_to_cam, other.world_to_cam, atol=1e-15)
        np.testing.assert_array_equal(image.seen, other.seen)
    np.testing.assert_array_equal(binary.points.numbers, text.points.numbers)
    np.testing.assert_allclose(binary.points.positions, text.points.positions, atol=1e-14)
    assert len(binary.points.numbers) == 644


def test_the_binary_form_is_taken_where_both_are_there(tmp_path):
    write_colmap_text(tmp_path, CAMERAS, VIEWS, POINTS)
    write_colmap_binary(tmp_path, CAMERAS, VIEWS[:1], POINTS)
    assert len(read_model(tmp_path).images) == 1


def test_a_model_without_points_is_a_model(tmp_path):
    write_colmap_binary(tmp_path, CAMERAS, VIEWS, POINTS)
    (tmp_path / "points3D.bin").unlink()
    assert len(read_model(tmp_path).points.numbers) == 0


def test_half_a_model_is_refused(tmp_path):
    write_colmap_text(tmp_path, CAMERAS, VIEWS, POINTS)
    (tmp_path / "images.txt").unlink()
    (tmp_path / "images.bin").touch()
    with pytest.raises(CaptureError, match=r"found \['cameras\.txt', 'images\.bin', .*both as"):
        read_model(tmp_path)


PARSERS = {
    "cameras.bin": colmap_binary.parse_cameras,
    "images.bin": colmap_binary.parse_images,
    "points3D.bin": colmap_binary.parse_points,
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_binary_file_that_is_cut_off_or_goes_on_is_refused(tmp_path, name):
    write_colmap_binary(tmp_path, CAMERAS, VIEWS, POINTS)
    whole = (tmp_path / name).read_bytes()
    assert len(PARSERS[name](Path(name), whole).__dict__ if name[0] == "p" else
               PARSERS[name](Path(name), whole))  # fmt: skip
    for length in range(len(whole)):
        with pytest.raises(CaptureError, match=name):
            PARSERS[name](Path(name), whole[:length])
    with pytest.raises(CaptureError, match="1 bytes too many"):
        PARSERS[name](Path(name), whole + b"\0")


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("count", [1, 1000, 2**40, 2**64 - 1])
def test_a_count_beyond_the_bytes_is_refused_before_anything_is_made(name, count):
    data = struct.pack("<Q", count) + b"\1" * 40
    with pytest.raises(CaptureError, match=r"announced, but 40 bytes are left"):
        PARSERS[name](Path(name), data)


def image_bytes(name=b"a.jpg\0", pose=(1.0, *[0.0] * 6), n_seen=0):
    return struct.pack("<QI7dI", 1, 1, *pose, 1) + name + struct.pack("<Q", n_seen)


def camera_bytes(model, width, height, *parameters):
    return struct.pack(f"<QIiQQ{len(parameters)}d", 1, 1, model, width, height, *parameters)


@pytest.mark.parametrize(
    ("parse", "data", "message"),
    [
        ("images", image_bytes(b"a" * 5000), "a name at byte .* without an end"),
        ("images", image_bytes(b"\xff.jpg\0"), "can't decode byte"),
        ("images", image_bytes(b"\0"), "file name '', expected a path that stays below"),
        ("images", image_bytes(b"../a.jpg\0"), "expected a path that stays below its folder"),
        ("images", image_bytes(b"/etc/a.jpg\0"), "expected a path that stays below its folder"),
        ("images", image_bytes(b"C:\\a.jpg\0"), "expected a path that stays below its folder"),
        ("images", image_bytes(b"a\nb.jpg\0"), "expected one without control characters"),
        ("images", image_bytes(n_seen=2**61), "points of an image announced, but 0 bytes"),
        ("images", image_bytes(pose=(float("nan"), *[0.0] * 6)), "expected finite numbers"),
        ("images", image_bytes(pose=(1.0, *[0.0] * 5, 1e300)), "expected finite numbers"),
        ("images", image_bytes(pose=[0.0] * 7), "a quaternion of length 0, expected 1"),
        ("images", image_bytes(pose=(1.1, *[0.0] * 6)), "a quaternion of length 1.1"),
        ("cameras", camera_bytes(1, 0, 30, 5, 5, 1, 1), "0×30 pixels, expected 1 to"),
        ("cameras", camera_bytes(1, 2**63, 30, 5, 5, 1, 1), "pixels, expected 1 to 32766"),
        ("cameras", camera_bytes(1, 40, 30, -5, 5, 1, 1), "expected more than 0"),
        ("cameras", camera_bytes(1, 40, 30, 5, float("inf"), 1, 1), "expected finite numbers"),
        ("cameras", camera_bytes(5, 40, 30, *[1.0] * 8), "camera model OPENCV_FISHEYE, expected"),
        ("cameras", camera_bytes(-7, 40, 30, *[1.0] * 8), "camera model no. -7, expected"),
        ("cameras", camera_bytes(99, 40, 30, *[1.0] * 8), "colmap image_undistorter"),
        (
            "points",
            struct.pack("<QQ3d3BdQ", 1, 1, 1, float("nan"), 1, 0, 0, 0, 0, 0),
            "a point that is not finite",
        ),
        (
            "points",
            struct.pack("<QQ3d3BdQ", 1, 2**63, 1, 1, 1, 0, 0, 0, 0, 0),
            "expected less than 2⁶³",
        ),
    ],
)
def test_numbers_and_names_that_cannot_be_are_refused(parse, data, message):
    with pytest.raises(CaptureError, match=rf"^file\.bin: .*{message}"):
        getattr(colmap_binary, f"parse_{parse}")(Path("file.bin"), data)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        ("cameras", "1 PINHOLE 40 30 5 5 1", "line 1: 3 parameters, expected 4 for PINHOLE"),
        ("cameras", "# x\n1 FOV 40 30 5 5 1 1 1", "line 2: camera model FOV, expected one of"),
        ("cameras", "1 PINHOLE 40", "line 1: 3 words, expected CAMERA_ID MODEL WIDTH HEIGHT"),
        ("cameras", "1 PINHOLE 40 x 5 5 1 1", "line 1: invalid literal"),
        ("cameras", "1 PINHOLE 40 30 5 5 1 1\n" * 2, "line 2: camera 1 stands twice"),
        ("images", "1 1 0 0 0 0 0 0 1", "line 1: 9 words, expected IMAGE_ID QW"),
        ("images", "1 1 0 0 0 0 0 0 1 a.png\n1 2", "line 2: 2 words, expected X Y POINT3D_ID"),
        ("images", f"1 1 0 0 0 0 0 0 1 a.png\n1 2 {10**30}", "line 2: .*too large"),
        ("images", "1 nan 0 0 0 0 0 0 1 a.png\n\n", "line 1: pose .*expected finite"),
        ("images", "1 1 0 0 0 0 0 0 1 ../a.png\n\n", "line 1: file name '../a.png'"),
        ("points", "1 2 3", "line 1: 3 words, expected POINT3D_ID X Y Z"),
        ("points", "1 2 3 inf 0 0 0 0", "a point that is not finite"),
        ("points", "1 2 3 4\n1 2 3 4", "two points have the same number"),
    ],
)
def test_lines_that_cannot_be_are_refused(parse, text, message):
    with pytest.raises(CaptureError, match=rf"^file\.txt: {message}"):
        getattr(colmap_text, f"parse_{parse}")(Path("file.txt"), text.encode())


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(CaptureError, match="expected UTF-8 text"):
        colmap_text.parse_points(Path("points3D.txt"), b"\xff\xfe1 2 3")


def test_an_image_that_sees_nothing_has_an_empty_second_line():
    text = "1 1 0 0 0 0 0 0 1 a.png\n\n\n# note\n2 1 0 0 0 0 0 0 1 b c.png \r\n1 2 5 3 4 -1\r\n"
    first, second = colmap_text.parse_images(Path("images.txt"), text.encode())
    assert (first.name, first.seen.tolist()) == ("a.png", [])
    assert (second.name, second.seen.tolist()) == ("b c.png", [5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cameras, views: views.clear(), "no images, expected the solved photographs"),
        (lambda cameras, views: views.append(views[0]), "image 'v0.png' stands 2 times"),
        (lambda cameras, views: cameras.update({5: cameras.pop(1)}), r"camera 1, .*it has \[5\]"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, change, message):
    cameras = {1: CAMERAS[3]}
    views, points = random_views(["v0.png", "v1.png"], 5)
    change(cameras, views)
    write_colmap_binary(tmp_path, cameras, views, points)
    with pytest.raises(CaptureError, match=message):
        read_model(tmp_path)
