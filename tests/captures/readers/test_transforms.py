import json
import logging
import math

import cv2
import numpy as np
import pytest
from solved_scene import photograph_of_sky, write_photograph, write_transforms

from gsn.captures.capture import CaptureError
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.depth_range import depths_in_frame
from gsn.captures.readers.llff import read_llff
from gsn.captures.readers.poses import opengl_cam_to_world, read_poses_bounds
from gsn.captures.readers.transforms import decode_over_white, read_transforms

AS_STORED = ReadConfig(1, None, 0.9, 1.6, 0.0)
H, W, V = 24, 32, 6


@pytest.fixture
def llff(write_scene):
    """A capture in LLFF layout, whose twin with `transforms.json` has the same cameras."""
    return write_scene(n_views=V, size=(H, W), original=(2 * H, 2 * W))


def frames_of(scene, more=lambda k: {}, folder="./images"):
    matrices = opengl_cam_to_world(read_poses_bounds(scene / "poses_bounds.npy"))
    return [(f"{folder}/view{k}.png", matrices[k], more(k)) for k in range(V)]


def expect_equal(capture, other):
    assert capture.view_names == other.view_names
    np.testing.assert_array_equal(capture.images, other.images)
    np.testing.assert_allclose(capture.intrinsics, other.intrinsics)
    # Bounds differ, so do scales: directions and ratios of distances do not.
    np.testing.assert_allclose(
        capture.cam_to_world[:, :3, :3], other.cam_to_world[:, :3, :3], atol=1e-12
    )
    a, b = (each.cam_to_world[:, :3, 3] for each in (capture, other))
    np.testing.assert_allclose(a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-12)


LENSES = {
    "in pixels of larger originals": {"w": 64.0, "h": 48, "fl_x": 80, "fl_y": 80, "cx": 32.0,
                                      "cy": 24.0, "camera_model": "OPENCV", "k1": 0.0, "p1": 0},
    "in pixels as stored": {"fl_x": 40.0},
    "by the angle of the width": {"camera_angle_x": 2 * math.atan(16 / 40)},
    "by both angles": {"camera_angle_x": 2 * math.atan(16 / 40),
                       "camera_angle_y": 2 * math.atan(12 / 40)},
}  # fmt: skip


@pytest.mark.parametrize("kind", LENSES)
@pytest.mark.parametrize("place", ["file", "frame"])
def test_cameras_are_those_of_the_same_capture_in_llff_layout(llff, kind, place):
    in_file, in_frame = (LENSES[kind], {}) if place == "file" else ({}, LENSES[kind])
    frames = frames_of(llff, lambda k: dict(in_frame))
    write_transforms(llff / "transforms.json", frames[::-1], near=2, far=9.5, **in_file)
    capture = read_transforms(llff, AS_STORED)
    expect_equal(capture, read_llff(llff, AS_STORED))
    # A range that the file tells has no margins.
    assert capture.near == pytest.approx(4 / 3)
    assert capture.far == pytest.approx(4 / 3 * 9.5 / 2)


def test_a_frame_overrules_the_file(llff):
    frames = frames_of(llff, lambda k: {"fl_x": 50.0, "cy": 11.0} if k == 2 else {})
    write_transforms(llff / "transforms.json", frames, fl_x=40.0, near=2, far=9)
    matrices = read_transforms(llff, AS_STORED).intrinsics
    np.testing.assert_allclose(matrices[1], [[40, 0, 16], [0, 40, 12], [0, 0, 1]])
    np.testing.assert_allclose(matrices[2], [[50, 0, 16], [0, 50, 11], [0, 0, 1]])


def test_copies_of_a_smaller_size_and_another_type_serve(llff):
    write_transforms(
        llff / "transforms.json", frames_of(llff, folder="images"), fl_x=40.0, near=2, far=9
    )
    for k in range(V):
        image = cv2.imread(str(llff / "images" / f"view{k}.png"))
        (llff / "images_2").mkdir(exist_ok=True)
        cv2.imwrite(str(llff / "images_2" / f"view{k}.jpg"), image[::2, ::2])
    capture = read_transforms(llff, ReadConfig(2, None, 0.9, 1.6, 0.0))
    np.testing.assert_allclose(capture.intrinsics[0], [[20, 0, 8], [0, 20, 6], [0, 0, 1]])
    assert capture.images.shape == (V, H // 2, W // 2, 3)
    for path in (llff / "images").iterdir():
        path.unlink()
    with pytest.raises(CaptureError, match="add the size in pixels for which 'fl_x' holds"):
        read_transforms(llff, ReadConfig(2, None, 0.9, 1.6, 0.0))


def test_distortion_is_undone(tmp_path):
    frames = [(f"a/{k}.png", pose(k), {}) for k in range(3)]
    for name, *_ in frames:
        image = photograph_of_sky(H, W, (40, 42), (15, 13), (-0.1, 0.02, 0.003, -0.002))
        write_photograph(tmp_path / name, image)
    keys = {"fl_x": 40, "fl_y": 42, "cx": 15, "cy": 13, "near": 2, "far": 5}
    bent = {"k1": -0.1, "k2": 0.02, "p1": 0.003, "p2": -0.002, "camera_model": "OPENCV"}
    write_transforms(tmp_path / "transforms.json", frames, **keys, **bent)
    capture = read_transforms(tmp_path, AS_STORED)
    (fx, _, cx), (_, fy, cy), _ = capture.intrinsics[0]
    assert (cx, cy) == (15, 13) and fx < 40
    expected = photograph_of_sky(H, W, (fx, fy), (cx, cy)).astype(float)
    assert np.abs(capture.images - expected).max() <= 5


def pose(k):
    """A camera aside of the others that looks along −z of the world (OpenGL axes)."""
    matrix = np.eye(4)
    matrix[:3, 3] = [0.4 * k, 0.1 * k * k, 0.05 * k]
    return matrix


@pytest.fixture
def synthetic(tmp_path):
    """NeRF-synthetic: `train/r_<k>.png` with alpha, no suffix in the file, other splits beside."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for k in range(3):
            image = rng.integers(0, 256, (8, 8, 4), np.uint8)
            cv2.imwrite(str(tmp_path / split / f"r_{k}.png"), image)
        frames = [(f"./{split}/r_{k}", pose(k), {"rotation": 0.012}) for k in range(3)]
        write_transforms(tmp_path / f"transforms_{split}.json", frames, camera_angle_x=0.69)
    return tmp_path


def test_nerf_synthetic_lies_over_white_between_2_and_6(synthetic, caplog):
    with caplog.at_level(logging.WARNING):
        capture = read_transforms(synthetic, AS_STORED)
    assert caplog.text == ""
    assert capture.view_names == ("r_0", "r_1", "r_2")
    assert capture.near == pytest.approx(4 / 3)
    assert capture.far == pytest.approx(4)
    focal = 4 / math.tan(0.69 / 2)
    np.testing.assert_allclose(capture.intrinsics[0], [[focal, 0, 4], [0, focal, 4], [0, 0, 1]])
    stored = cv2.imread(str(synthetic / "train" / "r_1.png"), cv2.IMREAD_UNCHANGED).tolist()
    for row in range(8):
        for column in range(8):
            blue, green, red, alpha = stored[row][column]
            for k, colour in enumerate((red, green, blue)):
                expected = colour * alpha / 255 + 255 - alpha
                assert abs(capture.images[1, row, column, k] - expected) <= 0.501


def test_another_file_of_that_name_has_not_the_range_of_nerf_synthetic(synthetic):
    frames = [(f"train/r_{k}", pose(k), {}) for k in range(3)]
    write_transforms(synthetic / "transforms_train.json", frames, fl_x=11.0)
    with pytest.raises(CaptureError, match=r"no depth range.*'ply_file_path', or .* 'near' and"):
        read_transforms(synthetic, AS_STORED)


def test_sixteen_bits_and_no_alpha_are_read_too(tmp_path):
    image = np.full((4, 4, 4), 65535, np.uint16)
    image[..., 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), image // 3)
    data = (tmp_path / "a.png").read_bytes()
    assert (decode_over_white(tmp_path / "a.png", data) == 255).all()
    cv2.imwrite(str(tmp_path / "a.png"), image[..., 0] // 3)
    data = (tmp_path / "a.png").read_bytes()
    assert (decode_over_white(tmp_path / "a.png", data) == 85).all()


PLY_TYPES = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}


def write_ply(path, points, form):
    header = f"ply\nformat {form} 1.0\ncomment made by hand\nelement vertex {len(points)}\n"
    header += "property double x\nproperty float y\nproperty float z\nproperty uchar red\n"
    header += "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
    if PLY_TYPES[form] is None:
        body = "".join(f"{x} {y} {z} 7\n" for x, y, z in points.tolist()).encode()
    else:
        order = PLY_TYPES[form]
        rows = np.zeros(len(points), [(n, order + t) for n, t in
                        (("x", "f8"), ("y", "f4"), ("z", "f4"), ("red", "u1"))])  # fmt: skip
        rows["x"], rows["y"], rows["z"] = points.T
        body = rows.tobytes()
    path.write_bytes(header.encode() + body)


@pytest.mark.parametrize("form", PLY_TYPES)
def test_points_that_fall_into_a_view_bound_its_depth(llff, form):
    rng = np.random.default_rng(1)
    points = rng.uniform(-9, 9, (2000, 3)).astype(np.float32).astype(float)
    write_ply(llff / "sparse_pc.ply", points, form)
    frames = frames_of(llff)
    write_transforms(llff / "transforms.json", frames, fl_x=40.0, ply_file_path="sparse_pc.ply")
    capture = read_transforms(llff, AS_STORED)
    bounds = []
    for _, matrix, _ in frames:
        depths = []
        for point in points:
            x, y, z = np.linalg.inv(matrix)[:3] @ [*point, 1]
            if z < 0 and abs(40 * x / z) <= 16 and abs(40 * y / z) <= 12:  # OpenGL looks along −z
                depths.append(-z)
        bounds.append(np.percentile(depths, [0.1, 99.9]))
    near, far = np.min(bounds), np.max(bounds)
    assert capture.near == pytest.approx(1.2)
    assert capture.far / capture.near == pytest.approx(far * 1.6 / near / 0.9)


def test_points_behind_a_camera_do_not_fall_into_its_view():
    points = np.array([[0, 0, -3.0], [0, 0, 3.0], [9.0, 0, 3.0]])
    matrix = np.array([[4.0, 0, 2], [0, 4, 2], [0, 0, 1]])
    (depths,) = depths_in_frame(points, np.eye(4)[None], matrix[None], (4, 4))
    assert depths.tolist() == [3.0]


def ply(form, count, body):
    head = f"ply\nformat {form} 1.0\nelement vertex {count}\nproperty float x\n"
    return head.encode() + b"property float y\nproperty float z\nend_header\n" + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no PLY header"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\n", "no PLY header"),
        (b"ply\nelement vertex 0\nend_header\n", "without format"),
        (b"ply\nformat ascii 1.0\nelement face 1\nend_header\n", "first element 'face 1'"),
        (b"ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "first element 'vertex -1'"),
        (ply("ascii", 9, b"1 2 3\n"), "9 vertices announced"),
        (ply("ascii", 2, b"1 2 3\n1 2\n"), "a vertex without its 3 numbers"),
        (ply("ascii", 1, b"1 nan 3\n"), "a vertex that is not finite"),
        (ply("ascii", 1, b"1 x 3\n"), "could not convert"),
        (ply("ascii", 1, b"\xff 2 3\n"), "can't decode"),
        (ply("binary_little_endian", 10**15, b"\0" * 40), "announced, but 40 bytes are left"),
    ],
)
def test_damaged_points_are_refused(llff, data, message):
    (llff / "a.ply").write_bytes(data)
    write_transforms(llff / "transforms.json", frames_of(llff), fl_x=40.0, ply_file_path="a.ply")
    with pytest.raises(CaptureError, match=rf"a\.ply: .*{message}"):
        read_transforms(llff, AS_STORED)


def test_without_points_the_depth_comes_from_matches(captures_folder, tmp_path, caplog):
    fern = captures_folder / "fern"
    (tmp_path / "images").symlink_to(fern / "images_8")
    poses = read_poses_bounds(fern / "poses_bounds.npy")
    matrices = opengl_cam_to_world(poses)
    names = sorted(path.name for path in (fern / "images_8").iterdir())
    frames = [(f"images/{name}", matrices[k], {}) for k, name in enumerate(names)]
    keys = {"fl_x": poses.focal_px[0], "w": poses.size_px[0, 1], "h": poses.size_px[0, 0]}
    write_transforms(tmp_path / "transforms.json", frames[:9], **keys, ply_file_path="no.ply")
    with caplog.at_level(logging.WARNING):
        capture = read_transforms(tmp_path, AS_STORED)
    assert "no.ply: no such file, though transforms.json names it" in caplog.text
    assert "the depth range is a rough one" in caplog.text
    solved = poses.bounds[:9]
    expected = 1.6 * solved[:, 1].max() / (0.9 * solved[:, 0].min())
    assert capture.far / capture.near == pytest.approx(expected, rel=0.3)


def identity(**changes):
    matrix = np.eye(4)
    for place, value in changes.items():
        matrix[int(place[1]), int(place[2])] = value
    return matrix.tolist()


FAULTS = {
    "no JSON": ("{", "not readable as JSON"),
    "a list": ("[]", "transforms.json"),
    "no frames": ({"fl_x": 9}, "key 'frames' is missing"),
    "empty frames": ({"frames": []}, "'frames' is empty"),
    "a focal length of 0": ({"fl_x": 0}, "fl_x"),
    "a text for a number": ({"fl_x": "9"}, "fl_x"),
    "NaN": ('{"fl_x": NaN, "frames": []}', "NaN"),
    "an angle of half a turn": ({"camera_angle_x": 3.2}, "camera_angle_x"),
    "no focal length": ({}, "no focal length, expected 'fl_x'"),
    "fisheye": ({"fl_x": 9, "camera_model": "OPENCV_FISHEYE"}, "camera model 'OPENCV_FISHEYE'"),
    "fisheye of instant-ngp": ({"fl_x": 9, "is_fisheye": True}, "camera model 'fisheye'"),
    "f-theta": ({"fl_x": 9, "ftheta_p0": 0.1}, "camera model 'fisheye'"),
    "k4": ({"fl_x": 9, "k4": 0.1}, "k4 is 0.1, expected 0"),
    "near alone": ({"fl_x": 9, "near": 1}, "one of 'near' and 'far'"),
    "far before near": ({"fl_x": 9, "near": 3, "far": 2}, "depth from 3 to 2"),
    "points elsewhere": ({"fl_x": 9, "ply_file_path": "../a.ply"}, "stays below its folder"),
    "a centre outside": ({"fl_x": 9, "cx": -4}, r"principal point \(-4"),
    "another aspect": ({"fl_x": 9, "w": 32, "h": 32}, "expected the same aspect"),
    "a photograph elsewhere": ({"file_path": "../../view0.png"}, "stays below its folder"),
    "an absolute path": ({"file_path": "/etc/view0.png"}, "stays below its folder"),
    "a photograph twice": ({"file_path": "images/view1.png"}, "stands twice"),
    "three rows": ({"transform_matrix": identity()[:3]}, "transform_matrix"),
    "a last row": ({"transform_matrix": identity(m30=0.5)}, "last row .* expected 0 0 0 1"),
    "a stretched axis": ({"transform_matrix": identity(m11=1.01)}, "not orthonormal"),
    "a mirror": ({"transform_matrix": identity(m11=-1)}, "mirrored"),
    "a far camera": ({"transform_matrix": identity(m03=1e300)}, "numbers beyond 1e"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_the_file_is_named(llff, kind):
    content, message = FAULTS[kind]
    if not isinstance(content, str):
        frames = [{"file_path": f"images/view{k}.png", "transform_matrix": identity(m03=k)}
                  for k in range(V)]  # fmt: skip
        if content and set(content) <= {"file_path", "transform_matrix"}:
            frames[0] |= content
            content = {"fl_x": 9}
        if kind != "no frames":
            content = {"frames": frames} | content
        content = json.dumps(content)
    (llff / "transforms.json").write_text(content)
    with pytest.raises(CaptureError, match=rf"(?s)transforms\.json: .*{message}|{message}"):
        read_transforms(llff, AS_STORED)


def test_two_files_for_a_name_without_suffix_are_refused(synthetic):
    (synthetic / "train" / "r_1.jpg").touch()
    with pytest.raises(CaptureError, match=r"'train/r_1' may be 'r_1\.\w+' or 'r_1\.\w+'"):
        read_transforms(synthetic, AS_STORED)
