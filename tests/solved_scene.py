"""Captures as solvers write them, from a world whose every ray has a known colour."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

COLMAP_NUMBERS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4}


@dataclass
class View:
    """One photograph: its name, the number of its camera, its pose and the points it sees."""

    name: str
    camera: int
    quaternion: tuple
    translation: tuple
    seen: tuple


@dataclass
class Camera:
    model: str
    width: int
    height: int
    parameters: tuple


def sky(x, y):
    """Colour in the direction (x, y, 1): smooth, and different everywhere."""
    channels = [np.sin(5 * x + 1), np.cos(4 * y), np.sin(3 * x - 4 * y)]
    return np.stack([127.5 + 110 * channel for channel in channels], axis=-1)


def bend(x, y, k1=0.0, k2=0.0, p1=0.0, p2=0.0, k3=0.0):
    """Brown's distortion, written out."""
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 * r2 + k3 * r2 * r2 * r2
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def unbend(x, y, *coefficients):
    """Invert it by fixed-point steps."""
    straight_x, straight_y = x.copy(), y.copy()
    for _ in range(200):
        bent_x, bent_y = bend(straight_x, straight_y, *coefficients)
        straight_x, straight_y = straight_x - (bent_x - x), straight_y - (bent_y - y)
    return straight_x, straight_y


def photograph_of_sky(height, width, focal, centre, coefficients=()):
    """What a camera with this lens takes, each pixel at its centre."""
    v, u = np.mgrid[0:height, 0:width] + 0.5
    x, y = (u - centre[0]) / focal[0], (v - centre[1]) / focal[1]
    return np.rint(sky(*unbend(x, y, *coefficients))).astype(np.uint8)


def write_photograph(path: Path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))


def random_views(names, n_points, seed=0):
    """Cameras in front of a cloud of points, turned a little, that all see most points."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([-1, -1, 4], [1, 1, 9], (n_points, 3))
    views = []
    for name in names:
        quaternion = np.array([1, *rng.normal(0, 0.05, 3)])
        quaternion /= np.linalg.norm(quaternion)
        seen = np.flatnonzero(rng.uniform(size=n_points) < 0.8)
        translation = tuple(rng.normal(0, 0.3, 3))
        views.append(View(name, 1, tuple(quaternion), translation, tuple(10 + seen)))
    return views, {10 + k: tuple(point) for k, point in enumerate(points)}


def write_colmap_binary(place: Path, cameras, views, points):
    place.mkdir(parents=True, exist_ok=True)
    data = struct.pack("<Q", len(cameras))
    for number, camera in cameras.items():
        model = COLMAP_NUMBERS[camera.model]
        data += struct.pack("<IiQQ", number, model, camera.width, camera.height)
        data += struct.pack(f"<{len(camera.parameters)}d", *camera.parameters)
    (place / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(views))
    for number, view in enumerate(views, 1):
        data += struct.pack("<I7dI", number, *view.quaternion, *view.translation, view.camera)
        data += view.name.encode() + b"\0" + struct.pack("<Q", len(view.seen) + 1)
        data += struct.pack("<ddq", 3.0, 4.0, -1)  # a feature of no point
        data += b"".join(struct.pack("<ddq", 1.0, 2.0, point) for point in view.seen)
    (place / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points))
    for number, position in points.items():
        data += struct.pack("<Q3d3BdQ", number, *position, 9, 9, 9, 0.5, 2)
        data += struct.pack("<4I", 1, 0, 2, 0)
    (place / "points3D.bin").write_bytes(data)


def write_colmap_text(place: Path, cameras, views, points):
    place.mkdir(parents=True, exist_ok=True)
    lines = ["# Camera list"]
    for number, camera in cameras.items():
        numbers = " ".join(map(repr, map(float, camera.parameters)))
        lines.append(f"{number} {camera.model} {camera.width} {camera.height} {numbers}")
    (place / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list"]
    for number, view in enumerate(views, 1):
        pose = " ".join(map(repr, map(float, (*view.quaternion, *view.translation))))
        lines.append(f"{number} {pose} {view.camera} {view.name}")
        lines.append(" ".join(["3.0 4.0 -1", *(f"1.0 2.0 {point}" for point in view.seen)]))
    (place / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["# Points"]
    for number, position in points.items():
        numbers = " ".join(map(repr, map(float, position)))
        lines.append(f"{number} {numbers} 9 9 9 0.5 1 0 2 0")
    (place / "points3D.txt").write_text("\n".join(lines) + "\n")


def write_transforms(path: Path, frames, **keys):
    """Write `transforms.json`; frames are (file_path, cam_to_world of OpenGL axes, more keys)."""
    content = keys | {
        "frames": [
            {"file_path": name, "transform_matrix": np.asarray(matrix).tolist()} | more
            for name, matrix, more in frames
        ]
    }
    path.write_text(json.dumps(content))
