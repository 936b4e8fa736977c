"""Random models of cameras, written by a loop over the published layout, come back as they were."""

import json
import struct
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsn.captures.readers import colmap_binary, colmap_text
from gsn.captures.readers.poses import (
    opencv_from_opengl,
    opengl_cam_to_world,
    read_poses_bounds,
)
from gsn.captures.readers.transforms_form import cam_to_world_of, lens_of_frame, load_transforms

HERE = Path("file")
SOME = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
COORDINATES = st.floats(-1e3, 1e3)
# COLMAP: src/colmap/sensor/models.h; number of the model and names of its parameters.
MODELS = {
    "SIMPLE_PINHOLE": (0, "f cx cy"),
    "PINHOLE": (1, "fx fy cx cy"),
    "SIMPLE_RADIAL": (2, "f cx cy k1"),
    "RADIAL": (3, "f cx cy k1 k2"),
    "OPENCV": (4, "fx fy cx cy k1 k2 p1 p2"),
}
NAMES = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\:"), min_size=1, max_size=9
).filter(lambda name: name not in (".", ".."))


@st.composite
def vectors(draw, n=3):
    return [draw(COORDINATES) for _ in range(n)]


@st.composite
def quaternions(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    q = rng.normal(size=4)
    return (q / np.linalg.norm(q)).tolist()


def rotation_of(q):
    """Rodrigues: the columns are the turned axes, v + 2 w (u × v) + 2 u × (u × v)."""
    w, u = q[0], np.array(q[1:])
    turned = [v + 2 * w * np.cross(u, v) + 2 * np.cross(u, np.cross(u, v)) for v in np.eye(3)]
    return np.stack(turned, axis=1)


@st.composite
def cameras(draw):
    model = draw(st.sampled_from(sorted(MODELS)))
    width, height = draw(st.integers(1, 9000)), draw(st.integers(1, 9000))
    values = {
        "f": st.floats(0.1, 1e4), "fx": st.floats(0.1, 1e4), "fy": st.floats(0.1, 1e4),
        "cx": st.just(width / 2), "cy": st.just(height / 3),
    }  # fmt: skip
    parameters = {
        name: draw(values.get(name, st.floats(-0.1, 0.1))) for name in MODELS[model][1].split()
    }
    return model, width, height, parameters


@st.composite
def images(draw):
    seen = draw(st.lists(st.integers(-1, 2**62), max_size=4))
    return draw(quaternions()), draw(vectors()), draw(st.integers(0, 2**31)), draw(NAMES), seen


def unbent(parameters):
    """Focal lengths, centre and distortion in OpenCV's order."""
    p = parameters
    focal = (p.get("fx", p.get("f")), p.get("fy", p.get("f")))
    bend = tuple(p.get(name, 0.0) for name in ("k1", "k2", "p1", "p2"))
    return focal, (p["cx"], p["cy"]), (*bend, 0.0)


@SOME
@given(models=st.dictionaries(st.integers(0, 2**32 - 1), cameras(), max_size=4))
def test_cameras_of_colmap(models):
    binary, text = [struct.pack("<Q", len(models))], ["# cameras"]
    for number, (model, width, height, parameters) in models.items():
        numbers = list(parameters.values())
        binary.append(struct.pack("<IiQQ", number, MODELS[model][0], width, height))
        binary.append(struct.pack(f"<{len(numbers)}d", *numbers))
        text.append(f"{number} {model} {width} {height} {' '.join(map(repr, numbers))}")
    read = colmap_binary.parse_cameras(HERE, b"".join(binary))
    assert read == colmap_text.parse_cameras(HERE, "\n".join(text).encode())
    for number, (_, width, height, parameters) in models.items():
        lens = read[number]
        assert lens.size == (height, width)
        assert (lens.focal, lens.centre, lens.distortion) == unbent(parameters)
    assert len(read) == len(models)


@SOME
@given(views=st.lists(images(), max_size=4))
def test_images_of_colmap(views):
    binary, text = [struct.pack("<Q", len(views))], []
    for k, (q, t, camera, name, seen) in enumerate(views):
        binary.append(struct.pack("<I4d3dI", k, *q, *t, camera) + name.encode() + b"\0")
        binary.append(struct.pack("<Q", len(seen)))
        binary.extend(struct.pack("<ddq", 1.5, 2.5, point) for point in seen)
        text.append(f"{k} {' '.join(map(repr, [*q, *t]))} {camera} {name}")
        text.append(" ".join(f"1.5 2.5 {point}" for point in seen))
    from_binary = colmap_binary.parse_images(HERE, b"".join(binary))
    from_text = colmap_text.parse_images(HERE, "\n".join(text).encode())
    assert len(from_binary) == len(from_text) == len(views)
    for (q, t, camera, name, seen), *both in zip(views, from_binary, from_text, strict=True):
        for image in both:
            assert (image.name, image.lens) == (name, camera)
            np.testing.assert_allclose(image.world_to_cam[:3, :3], rotation_of(q), atol=1e-12)
            np.testing.assert_array_equal(image.world_to_cam[:3, 3], t)
            np.testing.assert_array_equal(image.world_to_cam[3], [0, 0, 0, 1])
            assert image.seen.tolist() == [point for point in seen if point >= 0]


@SOME
@given(points=st.dictionaries(st.integers(0, 2**63 - 1), vectors(), max_size=5))
def test_points_of_colmap(points):
    binary, text = [struct.pack("<Q", len(points))], []
    for number, place in points.items():
        binary.append(struct.pack("<Q3d3BdQ2I", number, *place, 1, 2, 3, 0.5, 1, 7, 8))
        text.append(f"{number} {' '.join(map(repr, place))} 1 2 3 0.5 7 8")
    for read in (
        colmap_binary.parse_points(HERE, b"".join(binary)),
        colmap_text.parse_points(HERE, "\n".join(text).encode()),
    ):
        assert read.numbers.tolist() == sorted(points)
        assert read.positions.tolist() == [points[number] for number in sorted(points)]


@SOME
@given(st.data())
def test_cameras_of_llff(tmp_path, data):
    """Written as LLFF's imgs2poses does: OpenCV's x right, y down, z forward → [y x -z]."""
    views, rows = [], []
    for _ in range(data.draw(st.integers(1, 4))):
        axes, centre = rotation_of(data.draw(quaternions())), data.draw(vectors())
        right, down, forward = axes.T
        near = data.draw(st.floats(1e-3, 1e3))
        size = data.draw(st.tuples(st.integers(1, 9000), st.integers(1, 9000)))
        matrix = np.stack([down, right, -forward, centre, [*size, 55.5]], axis=1)
        rows.append([*matrix.ravel(), near, near * 3])
        views.append((axes, centre, size, near))
    np.save(tmp_path / "poses.npy", np.array(rows))
    poses = read_poses_bounds(tmp_path / "poses.npy")
    cam_to_world = opencv_from_opengl(opengl_cam_to_world(poses))
    assert len(cam_to_world) == len(views)
    for k, (axes, centre, size, near) in enumerate(views):
        np.testing.assert_array_equal(cam_to_world[k, :3, :3], axes)
        np.testing.assert_array_equal(cam_to_world[k, :3, 3], centre)
        assert poses.size_px[k].tolist() == list(size)
        assert poses.bounds[k].tolist() == [near, near * 3]
        assert poses.focal_px[k] == 55.5


@SOME
@given(st.data())
def test_cameras_of_transforms_json(tmp_path, data):
    width, height = data.draw(st.integers(1, 9000)), data.draw(st.integers(1, 9000))
    focal = data.draw(st.floats(0.1, 1e4))
    frames = []
    for name in data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_of(data.draw(quaternions()))
        matrix[:3, 3] = data.draw(vectors())
        frames.append({"file_path": f"./images/{name}", "transform_matrix": matrix.tolist()})
    bend = {key: data.draw(st.floats(-0.1, 0.1)) for key in ("k1", "k2", "p1", "p2")}
    content = {"w": width, "h": height, "fl_x": focal, **bend, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    read = load_transforms(tmp_path / "transforms.json")
    assert [frame.name for frame in read.frames] == [f["file_path"][2:] for f in frames]
    for frame, written in zip(read.frames, frames, strict=True):
        assert cam_to_world_of(frame).tolist() == written["transform_matrix"]
        lens = lens_of_frame(read, frame, (1, 1))
        assert lens.size == (height, width)
        assert lens.focal == (focal, focal)
        assert lens.centre == (width / 2, height / 2)
        assert lens.distortion == (*bend.values(), 0.0)
