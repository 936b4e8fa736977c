import logging
import shutil
import unicodedata

import cv2
import numpy as np
import pytest
from solved_scene import (
    Camera,
    photograph_of_sky,
    random_views,
    write_colmap_binary,
    write_colmap_text,
    write_photograph,
)

from gsn.captures.capture import CaptureError
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.colmap import read_colmap
from gsn.captures.readers.llff import read_llff
from gsn.captures.readers.matches import match_views

AS_STORED = ReadConfig(1, None, 0.9, 1.6, 0.0)
H, W = 36, 48
PINHOLE = Camera("PINHOLE", W, H, (55.0, 56.0, 23.0, 19.0))
RADIAL = Camera("RADIAL", W, H, (55.0, 23.0, 19.0, -0.1, 0.02))
NAMES = ["v0.png", "v1.png", "v2.png", "v3.png"]


@pytest.fixture
def write_model(tmp_path):
    """Return a function that writes a capture with a model and returns its folder."""

    def write(names=NAMES, camera=PINHOLE, size=(H, W), folder="images", place="sparse/0"):
        views, points = random_views(names, 40)
        scene = tmp_path / "scene"
        write = write_colmap_text if place == "sparse_text" else write_colmap_binary
        write(scene / place, {1: camera}, views, points)
        for k, name in enumerate(names):
            image = np.random.default_rng(k).integers(0, 256, (*size, 3), np.uint8)
            write_photograph(scene / folder / name, image)
        return scene

    return write


def world_to_cam(view):
    w, x, y, z = view.quaternion
    turn = np.zeros((3, 3))
    for k, e in enumerate(np.eye(3)):  # q e q*, by the vector formula
        axis = np.array([x, y, z])
        turn[:, k] = e + 2 * w * np.cross(axis, e) + 2 * np.cross(axis, np.cross(axis, e))
    return turn, np.array(view.translation)


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "sparse_text"])
def test_the_depth_range_and_the_cameras_are_those_of_a_loop(write_model, place):
    capture = read_colmap(write_model(place=place), AS_STORED)
    views, points = random_views(NAMES, 40)
    nearest, farthest, centres = [], [], []
    for view in views:
        turn, move = world_to_cam(view)
        depths = [float(turn[2] @ points[number] + move[2]) for number in view.seen]
        nearest.append(np.percentile(depths, 0.1))
        farthest.append(np.percentile(depths, 99.9))
        centres.append(-turn.T @ move)
    scale = 4 / 3 / min(nearest)
    assert capture.near == pytest.approx(1.2)
    assert capture.far == pytest.approx(1.6 * max(farthest) * scale)
    assert capture.view_names == ("v0", "v1", "v2", "v3")
    np.testing.assert_allclose(capture.intrinsics, [[[55, 0, 23], [0, 56, 19], [0, 0, 1]]] * 4)
    for k, view in enumerate(views):
        # The world frame is another one: what stays is one camera seen from another, scaled.
        turn, _ = world_to_cam(view)
        first = world_to_cam(views[0])[0]
        relative = np.linalg.inv(capture.cam_to_world[0]) @ capture.cam_to_world[k]
        np.testing.assert_allclose(relative[:3, :3], first @ turn.T, atol=1e-12)
        expected = scale * first @ (centres[k] - centres[0])
        np.testing.assert_allclose(relative[:3, 3], expected, atol=1e-12)


def test_photographs_are_undistorted_and_have_no_border(write_model):
    scene = write_model(camera=RADIAL)
    for name in NAMES:
        image = photograph_of_sky(H, W, (55, 55), (23, 19), (-0.1, 0.02))
        write_photograph(scene / "images" / name, image)
    capture = read_colmap(scene, AS_STORED)
    assert capture.images.shape == (4, H, W, 3)
    (fx, _, cx), (_, fy, cy), _ = capture.intrinsics[0]
    assert (cx, cy) == (23, 19) and fx == fy < 55
    expected = photograph_of_sky(H, W, (fx, fy), (cx, cy)).astype(float)
    assert np.abs(capture.images - expected).max() <= 5


def test_smaller_copies_scale_the_camera_by_the_true_ratio_of_each_axis(write_model):
    scene = write_model(size=(12, 17), folder="images_3")  # 48 / 3 = 16
    capture = read_colmap(scene, ReadConfig(3, None, 0.9, 1.6, 0.0))
    expected = [[55 * 17 / 48, 0, 23 * 17 / 48], [0, 56 * 12 / 36, 19 * 12 / 36], [0, 0, 1]]
    np.testing.assert_allclose(capture.intrinsics[2], expected)
    assert capture.images.shape == (4, 12, 17, 3)


def test_folders_become_part_of_the_name_and_a_factor_holds_in_them(write_model):
    scene = write_model(names=["left_2/a.png", "left_2/b c.png", "right/a.png"])
    capture = read_colmap(scene, ReadConfig(2, None, 0.9, 1.6, 0.0))
    assert capture.view_names == ("left_2__a", "left_2__b c", "right__a")
    assert capture.images.shape == (3, H // 2, W // 2, 3)


def test_views_that_would_share_a_name_are_refused(write_model):
    scene = write_model(names=["a/b.png", "a__b.png", "c.png"])
    with pytest.raises(CaptureError, match=r"images/a__b\.png'\] would be views \['a__b'\]"):
        read_colmap(scene, AS_STORED)


def test_a_model_of_the_folder_above_names_the_same_photographs(write_model):
    scene = write_model(names=[f"images/{name}" for name in NAMES], folder=".")
    assert read_colmap(scene, AS_STORED).view_names == ("v0", "v1", "v2", "v3")


def test_names_are_found_in_any_coding_of_their_letters(write_model):
    scene = write_model(names=["é 1.png", "ü.png", "v.png"])
    for path in list((scene / "images").iterdir()):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    assert len(read_colmap(scene, AS_STORED).images) == 3


def test_what_has_no_partner_is_left_out_and_counted(write_model, caplog):
    scene = write_model(names=[f"v{k}.png" for k in range(6)])
    (scene / "images" / "v1.png").unlink()
    shutil.copy(scene / "images" / "v0.png", scene / "images" / "other.png")
    with caplog.at_level(logging.WARNING):
        capture = read_colmap(scene, AS_STORED)
    assert capture.view_names == ("v0", "v2", "v3", "v4", "v5")
    assert "1 of 6 photographs with a camera are not there and left out, such as" in caplog.text
    assert "1 photographs have no camera and are left out" in caplog.text


def test_photographs_under_other_names_are_an_error(write_model):
    scene = write_model()
    for path in list((scene / "images").iterdir()):
        path.rename(path.with_name("x" + path.name))
    with pytest.raises(CaptureError, match=r"none of the 4 photographs with a camera .*v0\.png"):
        read_colmap(scene, AS_STORED)


def test_too_few_views_are_an_error(write_model):
    with pytest.raises(CaptureError, match="2 views, expected at least 3"):
        read_colmap(write_model(names=NAMES[:2]), AS_STORED)


def test_another_model_beside_the_first_is_named(write_model, caplog):
    scene = write_model()
    shutil.copytree(scene / "sparse" / "0", scene / "sparse" / "1")
    with caplog.at_level(logging.WARNING):
        read_colmap(scene, AS_STORED)
    assert "1 beside it are other models, not read" in caplog.text


def test_photographs_of_two_scales_are_refused(write_model):
    scene = write_model()
    image = np.zeros((H // 2, W // 2, 3), np.uint8)
    write_photograph(scene / "images" / "v2.png", image)
    with pytest.raises(CaptureError, match=r"v2\.png: 24×18 pixels for a camera of 48×36, but"):
        read_colmap(scene, AS_STORED)


def test_turned_photographs_are_refused(write_model):
    with pytest.raises(CaptureError, match=r"36×48 pixels, its camera took 48×36.* turned"):
        read_colmap(write_model(size=(W, H)), AS_STORED)


def test_cameras_of_somewhat_different_sizes_are_cropped_to_one(tmp_path):
    views, points = random_views(NAMES, 40)
    cameras = {1: PINHOLE, 2: Camera("PINHOLE", W - 3, H + 2, (50.0, 50.0, 20.0, 20.0))}
    views[1].camera = 2
    write_colmap_binary(tmp_path / "sparse", cameras, views, points)
    rng = np.random.default_rng(0)
    stored = {}
    for k, name in enumerate(NAMES):
        size = (H + 2, W - 3) if k == 1 else (H, W)
        stored[k] = rng.integers(0, 256, (*size, 3), np.uint8)
        write_photograph(tmp_path / "images" / name, stored[k])
        write_photograph(tmp_path / "masks" / name, (stored[k][..., :1] > 99) * np.uint8(255))
    capture = read_colmap(tmp_path, AS_STORED)
    np.testing.assert_array_equal(capture.images[0], stored[0][:, 1 : W - 2])
    np.testing.assert_array_equal(capture.images[1], stored[1][1 : H + 1])
    np.testing.assert_array_equal(capture.masks.values[1], stored[1][1 : H + 1, :, 0] > 99)
    np.testing.assert_allclose(capture.intrinsics[0][:2, 2], [22, 19])
    np.testing.assert_allclose(capture.intrinsics[1][:2, 2], [20, 19])


def test_masks_and_depth_are_undistorted_with_their_photograph(write_model):
    scene = write_model(camera=RADIAL)
    shapes = np.zeros((2 * H, 2 * W), np.uint8)  # stored larger than the photographs
    cv2.circle(shapes, (80, 60), 10, 255, -1)
    for name in NAMES:
        write_photograph(scene / "masks" / name, np.repeat(shapes[..., None], 3, 2))
    (scene / "depth").mkdir()
    np.save(scene / "depth" / "v1.npy", np.where(shapes > 0, 5.0, 0.0))
    capture = read_colmap(scene, AS_STORED)
    (fx, _, cx), (_, fy, cy), _ = capture.intrinsics[0]
    v, u = np.mgrid[0:H, 0:W] + 0.5
    x, y = (u - cx) / fx, (v - cy) / fy
    r2 = x * x + y * y
    radial = 1 - 0.1 * r2 + 0.02 * r2 * r2
    distance = np.hypot(x * radial * 55 + 23 - 40.25, y * radial * 55 + 19 - 30.25)  # of its middle
    sure = np.abs(distance - 5.125) > 0.8
    for values in (capture.masks.values[1], np.isfinite(capture.depth[1])):
        np.testing.assert_array_equal(values[sure] > 0, distance[sure] < 5.125)
    assert np.isnan(capture.depth[0]).all()


# One solved model, before and after undistortion: what the two readers make of it.


@pytest.fixture(scope="module")
def twins(captures_folder):
    cfg = ReadConfig(None, 504, 0.9, 1.6, 0.0)
    return (
        read_colmap(captures_folder / "kermit_colmap", cfg),
        read_llff(captures_folder / "kermit", cfg),
    )


def align(source, target):
    """Similarity (scale, turn, move) from points to points (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, sizes, v = np.linalg.svd(b.T @ a)
    signs = np.diag([1, 1, np.linalg.det(u @ v)])
    turn = u @ signs @ v
    scale = (sizes * np.diag(signs)).sum() / (a**2).sum()
    return scale, turn, target.mean(0) - scale * turn @ source.mean(0)


def directions(capture, view, points):
    """Unit rays in the world through points of the image plane, (N, 3)."""
    rays = np.linalg.inv(capture.intrinsics[view]) @ np.vstack([points.T, np.ones(len(points))])
    rays = capture.cam_to_world[view, :3, :3] @ rays
    return (rays / np.linalg.norm(rays, axis=0)).T


def degrees_between(a, b):
    return np.degrees(2 * np.arcsin(np.linalg.norm(a - b, axis=1) / 2))


def test_rays_of_the_same_pixel_agree_with_the_undistorted_twin(twins):
    solved, undistorted = twins
    assert solved.view_names == undistorted.view_names
    assert solved.images.shape == undistorted.images.shape == (11, 378, 504, 3)
    scale, turn, move = align(solved.cam_to_world[:, :3, 3], undistorted.cam_to_world[:, :3, 3])
    assert scale == pytest.approx(1, abs=1e-9)
    centres = scale * solved.cam_to_world[:, :3, 3] @ turn.T + move
    np.testing.assert_allclose(centres, undistorted.cam_to_world[:, :3, 3], atol=1e-9)
    grid = np.stack(np.meshgrid(np.linspace(0, 504, 21), np.linspace(0, 378, 21)), -1)
    for view in range(11):
        rays = directions(solved, view, grid.reshape(-1, 2)) @ turn.T
        angles = degrees_between(rays, directions(undistorted, view, grid.reshape(-1, 2)))
        assert angles.max() < 0.002  # a pixel is 0.1 degrees wide: 0.02 pixels
    # The two undistorters leave no border, and chose focal lengths that differ by 8 in 100,000.
    focal = solved.intrinsics[0, 0, 0] / undistorted.intrinsics[0, 0, 0]
    assert focal == pytest.approx(1, abs=1e-4)


def test_rays_of_the_same_thing_agree_with_the_undistorted_twin(twins):
    solved, undistorted = twins
    for view in (0, 4, 10):
        here, there = match_views(solved.images[view], undistorted.images[view])
        assert len(here) > 300
        angles = degrees_between(
            directions(solved, view, here), directions(undistorted, view, there)
        )
        assert np.median(angles) < 0.015  # 0.15 pixels: SIFT in two JPEGs of other sizes
        assert np.abs(np.median(there - here, axis=0)).max() < 0.02  # half a pixel would be 0.5


def test_the_depth_range_is_that_of_the_undistorted_twin(twins):
    solved, undistorted = twins
    assert solved.near == pytest.approx(undistorted.near, rel=1e-6)
    assert solved.far == pytest.approx(undistorted.far, rel=1e-6)


def test_solved_points_fall_where_their_features_were_seen(captures_folder, twins):
    """Features stand in the distorted photographs; the capture's cameras are undistorted."""
    text = captures_folder / "kermit_colmap" / "sparse_text"
    lines = [line for line in (text / "images.txt").open() if not line.startswith("#")]
    points = {}
    for line in (text / "points3D.txt").open():
        if not line.startswith("#"):
            number, *position = line.split()[:4]
            points[int(number)] = [float(word) for word in position]
    solved = twins[0]
    to_scene = None
    for pose, features in zip(lines[::2], lines[1::2], strict=True):
        words = pose.split()
        if words[9] != "kermit000.jpg":
            continue
        w, x, y, z = map(float, words[1:5])
        axis = np.array([x, y, z])
        turn = np.stack(
            [e + 2 * w * np.cross(axis, e) + 2 * np.cross(axis, np.cross(axis, e))
             for e in np.eye(3)], axis=1,
        )  # fmt: skip
        move = np.array([float(word) for word in words[5:8]])
        table = np.array(features.split(), float).reshape(-1, 3)
        table = table[table[:, 2] >= 0]
        to_scene = turn, move, table
    turn, move, table = to_scene
    seen = np.array([points[int(number)] for number in table[:, 2]]) @ turn.T + move
    (fx, _, cx), (_, fy, cy), _ = solved.intrinsics[0]
    # Where the undistorted photograph shows a feature: bent as the lens bends, by fixed point.
    x, y = (table[:, 0] - 320) / 695.54736825474754, (table[:, 1] - 240) / 695.54736825474754
    straight = np.stack([x, y])
    for _ in range(50):
        straight = np.stack([x, y]) / (1 - 0.14289180289921011 * (straight**2).sum(axis=0))
    shown = straight * [[fx], [fy]] + [[cx], [cy]]
    projected = (seen[:, :2] / seen[:, 2:]).T * [[fx], [fy]] + [[cx], [cy]]
    assert np.median(np.linalg.norm(shown - projected, axis=0)) < 0.3
