import math
import struct

import cv2
import numpy as np
import pytest

from gsn.captures.capture import CaptureError
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.depth_range import depth_bounds
from gsn.captures.readers.llff import files_in_layout, read_llff
from gsn.captures.readers.poses import mean_cam_to_world, opencv_from_opengl

AS_STORED = ReadConfig(1, None, 0.9, 1.6, 0.0)
SMALL = ReadConfig(None, 96, 0.9, 1.6, 0.0)


def cameras_by_loop(table):
    """Reference: the steps of an LLFF loader, a number at a time, down to OpenCV cameras."""
    scale = 1 / (0.75 * min(min(row[15], row[16]) for row in table))
    cameras = []
    for row in table:
        m = [[row[5 * i + j] for j in range(5)] for i in range(3)]
        right = [m[i][1] for i in range(3)]
        up = [-m[i][0] for i in range(3)]
        backward = [m[i][2] for i in range(3)]
        cameras.append((right, up, backward, [scale * m[i][3] for i in range(3)]))

    def unit(v):
        length = math.sqrt(sum(x * x for x in v))
        return [x / length for x in v]

    def cross(a, b):
        return [
            a[1] * b[2] - a[2] * b[1],
            a[2] * b[0] - a[0] * b[2],
            a[0] * b[1] - a[1] * b[0],
        ]

    def total(k):
        return [sum(camera[k][i] for camera in cameras) for i in range(3)]

    z = unit(total(2))
    x = unit(cross(total(1), z))
    y = unit(cross(z, x))
    centre = [c / len(cameras) for c in total(3)]

    def seen(v):  # in the frame of the mean camera
        return [sum(axis[i] * v[i] for i in range(3)) for axis in (x, y, z)]

    result = []
    for right, up, backward, t in cameras:
        columns = [seen(right), seen([-u for u in up]), seen([-b for b in backward])]
        columns.append(seen([t[i] - centre[i] for i in range(3)]))
        result.append([[columns[j][i] for j in range(4)] for i in range(3)] + [[0, 0, 0, 1]])
    return np.array(result), scale


def write_images_bin(path, names):
    path.parent.mkdir(parents=True)
    data = struct.pack("<Q", len(names))
    for k, name in enumerate(names):
        points = struct.pack("<ddq", 1.0, 2.0, -1) * k  # of varying number
        data += struct.pack("<i7di", k, 1, 0, 0, 0, *range(3), 1) + name.encode() + b"\0"
        data += struct.pack("<Q", k) + points
    path.write_bytes(data)


def test_cameras_match_a_loop_over_the_steps(write_scene):
    scene = write_scene(n_views=7)
    table = np.load(scene / "poses_bounds.npy")
    expected, scale = cameras_by_loop(table.tolist())
    capture = read_llff(scene, AS_STORED)
    np.testing.assert_allclose(capture.cam_to_world, expected, atol=1e-12)
    assert capture.near == pytest.approx(1.2)
    assert capture.far == pytest.approx(1.6 * scale * table[:, 16].max())


def test_focal_lengths_follow_the_true_size_on_each_axis(write_scene):
    scene = write_scene(size=(335, 504), original=(375, 564))
    capture = read_llff(scene, AS_STORED)
    fx, fy = 80 * 504 / 564, 80 * 335 / 375
    expected = [[fx, 0, 252], [0, fy, 167.5], [0, 0, 1]]
    np.testing.assert_allclose(capture.intrinsics, np.tile(expected, (6, 1, 1)))
    half = read_llff(scene, ReadConfig(None, 100, 0.9, 1.6, 0.0))
    assert half.images.shape[1:3] == (66, 100)  # 335 * 100/504 = 66.47
    expected = [[80 * 100 / 564, 0, 50], [0, 80 * 66 / 375, 33], [0, 0, 1]]
    np.testing.assert_allclose(half.intrinsics[3], expected)


def test_views_are_named_by_their_files_in_order(write_scene):
    scene = write_scene(name="kitchen", folder="images_2", suffix=".jpg")
    capture = read_llff(scene, ReadConfig(2, None, 0.9, 1.6, 0.0))
    assert capture.view_names == ("view0", "view1", "view2", "view3", "view4", "view5")
    assert capture.name == "kitchen"


@pytest.mark.parametrize("listing", ["images.bin", "view_imgs.txt"])
def test_photographs_without_a_camera_are_left_out_where_a_list_says_so(write_scene, listing):
    scene = write_scene()
    np.save(scene / "poses_bounds.npy", np.load(scene / "poses_bounds.npy")[[0, 2, 3, 5]])
    names = ["view5.png", "view0.png", "view3.png", "view2.png"]
    if listing == "images.bin":
        write_images_bin(scene / "sparse" / "0" / "images.bin", names)
    else:
        (scene / listing).write_text("\n".join(names) + "\n")
    capture = read_llff(scene, AS_STORED)
    assert capture.view_names == ("view0", "view2", "view3", "view5")
    stored = cv2.imread(str(scene / "images" / "view2.png"))[..., ::-1]
    np.testing.assert_array_equal(capture.images[1], stored)


def test_a_list_that_does_not_make_the_counts_equal_is_refused(write_scene):
    scene = write_scene()
    np.save(scene / "poses_bounds.npy", np.load(scene / "poses_bounds.npy")[:4])
    (scene / "view_imgs.txt").write_text("view0\nview1\nother.png\n")
    found = r"6 photographs, 2 of them among the 3 names of view_imgs.txt, expected 4"
    with pytest.raises(CaptureError, match=found):
        read_llff(scene, AS_STORED)


def test_a_list_is_not_asked_where_the_counts_agree(write_scene):
    scene = write_scene()
    (scene / "view_imgs.txt").write_text("IMG_1.JPG\n")
    assert len(read_llff(scene, AS_STORED).view_names) == 6


def test_a_cut_off_images_bin_is_refused(write_scene):
    scene = write_scene()
    np.save(scene / "poses_bounds.npy", np.load(scene / "poses_bounds.npy")[:4])
    path = scene / "sparse" / "0" / "images.bin"
    write_images_bin(path, ["a.png", "b.png", "c.png"])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CaptureError, match=r"images\.bin: .*announced, but 43 bytes are left"):
        read_llff(scene, AS_STORED)


def test_prompts_belong_to_the_layout_and_foreign_files_do_not(write_scene):
    scene = write_scene(n_views=3)
    for name in ("prompts/cup.yaml", "prompts/cup.png", "prompts/.cup.yaml", "cup.yaml"):
        (scene / name).parent.mkdir(exist_ok=True)
        (scene / name).touch()
    found = [path.relative_to(scene).as_posix() for path in files_in_layout(scene)]
    images = [f"images/view{k}.png" for k in range(3)]
    assert found == [*images, "poses_bounds.npy", "prompts/cup.png", "prompts/cup.yaml"]


def test_outliers_at_each_end_are_left_out():
    bounds = np.stack([np.linspace(1, 5, 101), np.linspace(10, 20, 101)], axis=1)
    assert depth_bounds(bounds, 0.0) == (1.0, 20.0)
    assert depth_bounds(bounds, 5.0) == pytest.approx((1.2, 19.5))


def test_near_is_1_2_also_without_outliers(write_scene):
    capture = read_llff(write_scene(), ReadConfig(1, None, 0.9, 1.6, 10.0))
    assert capture.near == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((None, None, 0.9, 1.6, 0.0), "'factor' is None and 'long_side_px' is None"),
        ((2, 504, 0.9, 1.6, 0.0), "'factor' is 2 and 'long_side_px' is 504"),
        ((0, None, 0.9, 1.6, 0.0), "'factor' is 0: expected at least 1"),
        ((1, None, 0.0, 1.6, 0.0), "'near_scale' is 0.0"),
        ((1, None, 1e-320, 1.6, 0.0), "'near_scale' is 1e-320"),
        ((1, None, 0.9, 0.5, 0.0), "'far_scale' 0.5"),
        ((1, None, 0.9, 1e308, 0.0), "'far_scale' 1e.308: expected 0.001 <= near_scale"),
        ((1, None, 0.9, 1.6, 50.0), "'outlier_percent' is 50.0: expected 0 to below 50"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ReadConfig(*settings)


@pytest.mark.parametrize(
    ("name", "n_views", "size", "has_masks"),
    [
        ("fern", 20, (72, 96), False),
        ("spin_statue", 29, (72, 96), True),
        ("banana", 14, (64, 96), False),
        ("dtu_scan65", 32, (72, 96), True),
    ],
)
def test_a_real_capture_reads(captures_folder, name, n_views, size, has_masks):
    capture = read_llff(captures_folder / name, SMALL)
    assert capture.images.shape == (n_views, *size, 3)
    assert capture.near == pytest.approx(1.2)
    assert capture.far > capture.near
    mean = mean_cam_to_world(opencv_from_opengl(capture.cam_to_world))
    np.testing.assert_allclose(mean, np.eye(4), atol=1e-9)
    axes = capture.cam_to_world[:, :3, :3]
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes - np.eye(3), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1)
    assert (capture.masks is not None) == has_masks
    if capture.masks is not None:
        assert capture.masks.present.all()
        assert 0.02 < capture.masks.values.mean() < 0.6
