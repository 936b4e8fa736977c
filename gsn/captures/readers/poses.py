"""Cameras of an LLFF capture: `poses_bounds.npy`, checked, and the steps to OpenCV cameras.

A row of the file holds, row-major, the 3×5 matrix [r0 r1 r2 | t | (h, w, f)] and two depth bounds:
the columns of the rotation are the camera's down, right and backward axes in the world, t is its
centre, h, w, f belong to the original photograph in pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gsn.captures.capture import CaptureError, FloatArray
from gsn.captures.user_files import load_array
from gsn.checks import check_shape

ROTATION_TOLERANCE = 1e-3  # largest entry of |RᵀR − I|
LARGEST = 1e12  # of all numbers, so that no product of a few of them is infinite
DEGENERATE = 1e-6  # length of a mean axis below which its direction is only rounding


@dataclass(frozen=True)
class LlffPoses:
    """The columns of `poses_bounds.npy`, by name."""

    axes: FloatArray  # (V, 3, 3), columns: down, right, backward
    centres: FloatArray  # (V, 3), in world units
    size_px: FloatArray  # (V, 2), rows and columns of the original photographs
    focal_px: FloatArray  # (V,), of the original photographs
    bounds: FloatArray  # (V, 2), nearest and farthest depth, in world units


def read_poses_bounds(path: Path) -> LlffPoses:
    """Read and check `poses_bounds.npy`.

    Raises:
        CaptureError: The file is missing, is no plain (V, 17) array of finite numbers, or holds
            a rotation, size, focal length or bound that no camera has.
    """
    table = _load(path)
    matrices = table[:, :15].reshape(-1, 3, 5)
    poses = LlffPoses(
        axes=matrices[:, :, :3],
        centres=matrices[:, :, 3],
        size_px=matrices[:, :2, 4],
        focal_px=matrices[:, 2, 4],
        bounds=table[:, 15:],
    )
    _check(path, poses)
    return poses


def opengl_cam_to_world(poses: LlffPoses) -> FloatArray:  # (V, 4, 4)
    """Turn LLFF axes (down, right, backward) into OpenGL axes (right, up, backward)."""
    cam_to_world = np.tile(np.eye(4), (len(poses.axes), 1, 1))
    down, right, backward = np.moveaxis(poses.axes, -1, 0)
    cam_to_world[:, :3, :3] = np.stack([right, -down, backward], axis=-1)
    cam_to_world[:, :3, 3] = poses.centres
    return cam_to_world


def recentre(
    cam_to_world: FloatArray,  # (V, 4, 4), OpenGL axes
) -> FloatArray:  # (V, 4, 4)
    """Choose the world frame in which the mean camera is the identity."""
    check_shape("cam_to_world", cam_to_world, "V 4 4")
    world_to_mean = np.linalg.inv(mean_cam_to_world(cam_to_world))
    return np.asarray(world_to_mean @ cam_to_world)


def mean_cam_to_world(
    cam_to_world: FloatArray,  # (V, 4, 4), OpenGL axes
) -> FloatArray:  # (4, 4)
    """Average cameras: the mean centre, the mean backward axis, and the mean up axis for the roll.

    Where an orbit leaves no mean backward axis, or one along the mean up axis, the axes of the
    first camera decide instead; LLFF divides by zero there.
    """
    right, up, backward = np.moveaxis(cam_to_world[:, :3, :3], -1, 0)  # each (V, 3)
    z_axis = _first_direction(backward.mean(axis=0), backward[0])
    x_axis = _first_direction(
        *(np.cross(axis, z_axis) for axis in (up.mean(axis=0), up[0], right[0]))
    )
    mean = np.eye(4)
    mean[:3, :3] = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=-1)
    mean[:3, 3] = cam_to_world[:, :3, 3].mean(axis=0)
    return mean


def opencv_from_opengl(
    cam_to_world: FloatArray,  # (V, 4, 4)
) -> FloatArray:  # (V, 4, 4)
    """Turn OpenGL axes (right, up, backward) into OpenCV axes (right, down, forward)."""
    return np.asarray(cam_to_world * np.array([1.0, -1.0, -1.0, 1.0]))


def _first_direction(*candidates: FloatArray) -> FloatArray:
    """Return the first vector that has a direction, at unit length."""
    for vector in candidates:
        length = float(np.linalg.norm(vector))
        if length > DEGENERATE:
            return vector / length
    raise AssertionError("an orthonormal frame always leaves a direction")


def _load(path: Path) -> FloatArray:  # (V, 17)
    try:
        table = load_array(path, "a plain (views, 17) array of floats")
    except FileNotFoundError as error:
        raise CaptureError(
            f"{path}: no such file, expected the cameras in LLFF form: each scene needs one"
        ) from error
    if table.ndim != 2 or table.shape[1] != 17 or len(table) == 0:
        raise CaptureError(
            f"{path}: found {table.shape}, expected shape (views, 17): 15 numbers of the pose and "
            "two depth bounds for each photograph"
        )
    if not np.issubdtype(table.dtype, np.floating):
        raise CaptureError(f"{path}: found type {table.dtype}, expected floats")
    with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
        poses: FloatArray = table.astype(np.float64)
    return poses


def _check(path: Path, poses: LlffPoses) -> None:
    numbers = (poses.axes, poses.centres, poses.size_px, poses.focal_px, poses.bounds)
    finite = np.stack([np.isfinite(a).reshape(len(a), -1).all(axis=1) for a in numbers]).all(axis=0)
    _refuse(path, ~finite, "found NaN or infinity, expected finite numbers")
    sizes = [np.abs(a).reshape(len(a), -1).max(axis=1) for a in numbers]
    _refuse(path, np.max(sizes, axis=0) > LARGEST, f"found a number beyond {LARGEST:g}")
    deviation = np.abs(poses.axes.transpose(0, 2, 1) @ poses.axes - np.eye(3)).max(axis=(1, 2))
    _refuse(
        path,
        deviation > ROTATION_TOLERANCE,
        "the rotation is not orthonormal (columns must be unit axes at right angles)",
    )
    _refuse(
        path,
        np.linalg.det(poses.axes) < 0,
        "the rotation has determinant −1, expected +1: the axes must be down, right, backward",
    )
    lengths = np.concatenate([poses.size_px, poses.focal_px[:, None]], axis=1)
    too_short = (lengths < 1 / LARGEST).any(axis=1)
    _refuse(path, too_short, "height, width or focal length is not positive")
    near, far = poses.bounds.T
    _refuse(path, near <= 0, "the near bound is not positive, expected a depth before the camera")
    _refuse(path, near < 1 / LARGEST, f"the near bound is below {1 / LARGEST:g}")
    _refuse(path, near >= far, "the near bound is not below the far bound")


def _refuse(path: Path, wrong_rows: npt.ArrayLike, what: str) -> None:
    wrong = np.asarray(wrong_rows)  # (V,)
    if wrong.any():
        raise CaptureError(
            f"{path}: {what}, in {int(wrong.sum())} of {len(wrong)} rows, the first is row "
            f"{int(wrong.argmax())} (rows stand in the order of file names, from 0): solve the "
            "cameras again, or leave out these photographs and rows"
        )
