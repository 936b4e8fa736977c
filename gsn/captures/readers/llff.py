"""Reader of captures in LLFF layout: `images*/`, `poses_bounds.npy`, `masks/`, `depth/`.

Deviations from the reference loader of LLFF (Mildenhall et al. 2019, arXiv:1905.00889): the focal
length follows the true ratio of sizes, on each axis; numbers stay float64; a scene that does not
fit together is an error.
"""

import re
from pathlib import Path

import numpy as np

from gsn.captures.capture import Capture, CaptureError, FloatArray, check_view_count
from gsn.captures.images import (
    Size,
    list_image_files,
    pick_image_folder,
    read_photographs,
    same_aspect,
)
from gsn.captures.masks import read_depth, read_masks
from gsn.captures.origin import files_below
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.depth_range import DepthRange, depth_bounds, place_in_scene
from gsn.captures.readers.listed_names import read_listed_stems
from gsn.captures.readers.poses import LlffPoses, opengl_cam_to_world, read_poses_bounds

POSES_FILE = "poses_bounds.npy"
LAYOUT = r"images(_\d+)?|masks|depth|prompts|sparse|poses_bounds\.npy|view_imgs\.txt"


def read_llff(folder: Path, cfg: ReadConfig) -> Capture:
    """Read one scene; its name is that of the folder.

    Raises:
        CaptureError: Something is missing, damaged or does not fit together.
    """
    if not folder.is_dir():
        raise CaptureError(f"{folder}: no such folder, expected a capture in LLFF layout")
    poses = read_poses_bounds(folder / POSES_FILE)
    files = files_of_rows(folder, pick_image_folder(folder, cfg), len(poses.axes))
    names = tuple(path.stem for path in files)
    photographs = read_photographs(files, cfg)
    _check_aspects(folder, poses, photographs.stored_size)
    size = photographs.images.shape[1], photographs.images.shape[2]
    bounds = depth_bounds(poses.bounds, cfg.outlier_percent)
    depth = DepthRange(*bounds, cfg.near_scale, cfg.far_scale)
    cam_to_world, scale = place_in_scene(opengl_cam_to_world(poses), depth)
    near, far = depth.in_scene(scale)
    return Capture(
        name=folder.name,
        view_names=names,
        image_sha256=photographs.sha256,
        images=photographs.images,
        intrinsics=intrinsics_at(poses, size),
        cam_to_world=cam_to_world,
        near=near,
        far=far,
        masks=read_masks(folder / "masks", names, size),
        depth=read_depth(folder / "depth", names, size, scale),
        source=folder,
    )


def files_in_layout(scene: Path) -> list[Path]:
    """Return the files of a capture folder that a reader can use, sorted, less hidden ones."""
    return [
        path
        for path in files_below(scene)
        if re.fullmatch(LAYOUT, path.relative_to(scene).parts[0])
    ]


def files_of_rows(scene: Path, image_folder: Path, n_rows: int) -> list[Path]:
    """Return the photograph of each row of `poses_bounds.npy`: row k is the k-th name.

    Where the counts differ, only photographs count that the list of solved ones names.

    Raises:
        CaptureError: The counts differ all the same, or are too small.
    """
    files = list_image_files(image_folder)
    found = f"{len(files)} photographs"
    listed = read_listed_stems(scene) if len(files) != n_rows else None
    if listed is not None:
        list_file, stems = listed
        files = [path for path in files if path.stem in stems]
        found += f", {len(files)} of them among the {len(stems)} names of {list_file.name}"
    if len(files) != n_rows:
        raise CaptureError(
            f"{image_folder}: {found}, expected {n_rows} for the rows of poses_bounds.npy: remove "
            "photographs without a camera, or name those with one in view_imgs.txt"
        )
    check_view_count(scene, n_rows)
    return files


def intrinsics_at(poses: LlffPoses, size: Size) -> FloatArray:  # (V, 3, 3)
    """Return K for photographs of this size; the principal point is the middle of the image."""
    ratio = np.array(size) / poses.size_px  # (V, 2): rows, columns
    intrinsics = np.zeros((len(ratio), 3, 3))
    intrinsics[:, 0, 0] = poses.focal_px * ratio[:, 1]
    intrinsics[:, 1, 1] = poses.focal_px * ratio[:, 0]
    intrinsics[:, :, 2] = size[1] / 2, size[0] / 2, 1.0
    return intrinsics


def _check_aspects(folder: Path, poses: LlffPoses, stored: Size) -> None:
    for row, (height, width) in enumerate(poses.size_px):
        if not same_aspect(stored, (height, width)):
            turned = same_aspect((stored[1], stored[0]), (height, width))
            raise CaptureError(
                f"{folder / POSES_FILE}: row {row} is of a photograph of {width:g}×"
                f"{height:g} pixels, the stored ones have {stored[1]}×{stored[0]}, expected the "
                f"same aspect: the photographs are {'turned' if turned else 'cropped'}, or the "
                "cameras are of other photographs"
            )
