"""What is fuzzed: readers of files that others made, each as a function of the bytes of one file.

A target returns, or raises the error that the reader documents. What it returns is checked: a
capture that passes has finite cameras and a depth range.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gsn.captures.capture import Capture, CaptureError
from gsn.captures.decode import decode_rgb
from gsn.captures.masks import read_depth, read_masks
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers import colmap_binary, colmap_text
from gsn.captures.readers.formats import read_capture
from gsn.captures.readers.ply import parse_ply
from gsn.captures.readers.poses import read_poses_bounds
from gsn.captures.readers.transforms_form import load_transforms
from gsn.evaluation.prompts.prompt_form import PromptError, read_form
from pipeline.config import ParamsError, ScenesConfig, load_section
from reliability import fuzz_seeds as seeds

READ_CONFIG = ReadConfig(
    factor=None, long_side_px=64, near_scale=0.9, far_scale=1.6, outlier_percent=0.0
)
DOCUMENTED = (CaptureError, PromptError, ParamsError)
PARAMS = b"scenes: &s {train: [fern, 'room 1'], test: [horns]}\nprepare: {<<: *s, a: 1.5e-3}\n"
PROMPT = (
    b"version: 1\nobject: cup\nview: a\nimage_size_px: [64, 48]\n"
    b"positive: {lines: [[[1, 2], [3, 4.5]]], line_width_px: 3, points: [[5, 6]]}\n"
)
Place = Path  # folder that a target may write into


@dataclass(frozen=True)
class Target:
    """One reader."""

    seeds: Callable[[], list[bytes]]  # files that are as they should be, or nearly
    run: Callable[[bytes, Place], object]


def _pure(read: Callable[[Path, bytes], object], make: Callable[[], list[bytes]]) -> Target:
    """Make a target of a function that takes bytes, and the path for messages."""
    return Target(make, lambda data, _: read(Path("file"), data))


def _stored(read: Callable[[Path], object], make: Callable[[], list[bytes]]) -> Target:
    """Make a target of a function that takes a path."""

    def run(data: bytes, place: Place) -> object:
        (place / "file").write_bytes(data)
        return read(place / "file")

    return Target(make, run)


def _beside(name: str, read: Callable[[Path], object], make: Callable[[], list[bytes]]) -> Target:
    """Make a target of a function that takes a folder, in which one file is fuzzed."""

    def run(data: bytes, place: Place) -> object:
        (place / name).write_bytes(data)
        return read(place)

    return Target(make, run)


def _scene(name: str, others: dict[str, bytes], make: Callable[[], list[bytes]]) -> Target:
    """Make a target of a whole capture, of which one file is fuzzed."""

    def run(data: bytes, place: Place) -> object:
        folder = place / "scene"
        if not folder.exists():
            (folder / "images").mkdir(parents=True)
            for k, photograph in enumerate(seeds.NAMES):
                (folder / "images" / photograph).write_bytes(seeds.picture(k))
        for inner, content in {**others, name: data}.items():
            (folder / inner).parent.mkdir(parents=True, exist_ok=True)
            (folder / inner).write_bytes(content)
        return check_capture(read_capture(folder, READ_CONFIG))

    return Target(make, run)


def check_capture(capture: Capture) -> Capture:
    """Assert what every stage after the reader takes for granted."""
    assert np.isfinite(capture.cam_to_world).all(), "cam_to_world is not finite"
    assert np.isfinite(capture.intrinsics).all(), "intrinsics are not finite"
    assert (capture.intrinsics[:, [0, 1], [0, 1]] > 0).all(), "a focal length is not positive"
    assert 0 < capture.near < capture.far < np.inf, f"depth {capture.near} to {capture.far}"
    assert capture.images.shape[0] == len(set(capture.view_names)) >= 3, "views"
    rotations = capture.cam_to_world[:, :3, :3]
    gram = rotations.transpose(0, 2, 1) @ rotations
    assert np.abs(gram - np.eye(3)).max() < 0.01, "a rotation is not orthonormal"
    return capture


def _first(make: Callable[[], bytes]) -> Callable[[], list[bytes]]:
    return lambda: [make()]


def _masks(folder: Path) -> object:
    if not (folder / "a.png").exists():
        values = np.array([[0, 1], [2, 0]], np.uint8)
        (folder / "a.png").write_bytes(seeds.encode(".png", values))
    return read_masks(folder, ("a",), (2, 2))


COLMAP = {
    "sparse/0/cameras.bin": seeds.cameras_bin()[2],
    "sparse/0/images.bin": seeds.images_bin(),
    "sparse/0/points3D.bin": seeds.points_bin(),
}
TARGETS: dict[str, Target] = {
    "poses_bounds_npy": _stored(read_poses_bounds, lambda: seeds.npy_seeds(seeds.poses_bounds())),
    "depth_npy": _beside(
        "a.npy",
        lambda folder: read_depth(folder, ("a",), (3, 4), 2.0),
        lambda: seeds.npy_seeds(np.arange(12.0).reshape(3, 4)),
    ),
    "colmap_cameras_bin": _pure(colmap_binary.parse_cameras, seeds.cameras_bin),
    "colmap_images_bin": _pure(colmap_binary.parse_images, _first(seeds.images_bin)),
    "colmap_points_bin": _pure(colmap_binary.parse_points, _first(seeds.points_bin)),
    "colmap_cameras_txt": _pure(colmap_text.parse_cameras, _first(seeds.cameras_txt)),
    "colmap_images_txt": _pure(colmap_text.parse_images, _first(seeds.images_txt)),
    "colmap_points_txt": _pure(colmap_text.parse_points, _first(seeds.points_txt)),
    "transforms_json": _stored(load_transforms, lambda: [seeds.transforms()]),
    "ply": _pure(parse_ply, seeds.ply),
    "png": _pure(decode_rgb, seeds.pngs),
    "jpeg": _pure(decode_rgb, seeds.jpegs),
    "labels_json": _beside("labels.json", _masks, lambda: [b'{"1": "cup", "2": "plate"}']),
    "prompt_yaml": _stored(read_form, lambda: [PROMPT, b"{version: 1, object: a, text: b}"]),
    "params_yaml": _stored(
        lambda path: load_section(path, "scenes", ScenesConfig), lambda: [PARAMS]
    ),
    "scene_llff": _scene("poses_bounds.npy", {}, lambda: [seeds.npy(seeds.poses_bounds())]),
    "scene_cameras_bin": _scene("sparse/0/cameras.bin", COLMAP, lambda: seeds.cameras_bin()[:5]),
    "scene_images_bin": _scene("sparse/0/images.bin", COLMAP, _first(seeds.images_bin)),
    "scene_points_bin": _scene("sparse/0/points3D.bin", COLMAP, _first(seeds.points_bin)),
    "scene_transforms": _scene("transforms.json", {}, lambda: [seeds.transforms()]),
}


def empty(place: Place) -> None:
    """Make the folder of a target new."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
