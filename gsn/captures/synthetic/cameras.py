"""The camera array of a synthetic capture, its rays, and its poses as LLFF files hold them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gsn.captures.capture import FloatArray
from gsn.captures.synthetic.body import length
from gsn.captures.synthetic.scene import CameraArray

AIM = np.array([0.0, 0.3, 0.75])  # middle of the objects
POSITION_JITTER = 0.15  # of the step between neighbours, each way
AIM_JITTER = math.radians(0.7)
ROLL_JITTER = math.radians(1.2)
CONVERGENCE = 2.5  # where all cameras look, in distances of the objects: nearly parallel


@dataclass(frozen=True)
class Viewpoint:
    """The middle of the array, and what all its cameras have in common."""

    position: FloatArray  # (3,)
    rotation: FloatArray  # (3, 3), columns right, down, forward
    distance: float  # to the middle of the objects
    focal: float  # in image widths


def draw_viewpoint(rng: np.random.Generator) -> Viewpoint:
    """Draw where the photographer stands: in front of the table, looking a little down."""
    pitch, yaw = math.radians(rng.uniform(17, 32)), math.radians(rng.uniform(-9, 9))
    distance, focal = rng.uniform(9.0, 10.0), rng.uniform(1.05, 1.25)
    level = np.array([math.sin(yaw), math.cos(yaw), 0.0])
    forward = math.cos(pitch) * level - math.sin(pitch) * np.array([0.0, 0.0, 1.0])
    return Viewpoint(AIM - distance * forward, look_along(forward, 0.0), distance, focal)


def draw_cameras(
    rng: np.random.Generator, viewpoint: Viewpoint, n_views: int, baseline: float
) -> CameraArray:
    """Place cameras on a jittered grid about the viewpoint, left to right, top to bottom.

    A last row that is not full is centred. `baseline` is the step of the grid over the distance.
    """
    n_columns = max(1, round(math.sqrt(1.5 * n_views)))
    n_rows = math.ceil(n_views / n_columns)
    converge = CONVERGENCE * viewpoint.distance
    aim = viewpoint.position + converge * viewpoint.rotation[:, 2]
    poses = np.tile(np.eye(4), (n_views, 1, 1))
    for view, pose in enumerate(poses):
        row, column = divmod(view, n_columns)
        in_row = min(n_columns, n_views - row * n_columns)
        grid = np.array([column - (in_row - 1) / 2, row - (n_rows - 1) / 2, 0.0])
        grid += rng.uniform(-POSITION_JITTER, POSITION_JITTER, 3)
        pose[:3, 3] = viewpoint.position + viewpoint.rotation @ grid * baseline * viewpoint.distance
        target = aim + converge * math.tan(AIM_JITTER) * rng.uniform(-1, 1, 3)
        roll = rng.uniform(-ROLL_JITTER, ROLL_JITTER)
        pose[:3, :3] = look_along(target - pose[:3, 3], roll)
    return CameraArray(poses, viewpoint.focal)


def look_along(forward: FloatArray, roll: float) -> FloatArray:
    """Return the rotation (3, 3) whose columns are a camera's right, down and forward axes."""
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right)
    down = np.cross(forward, right)
    rolled = np.cos(roll) * right + np.sin(roll) * down
    return np.stack([rolled, np.cross(forward, rolled), forward], axis=1)


def pixel_rays(
    cam_to_world: FloatArray,  # (4, 4)
    focal_px: float,
    width_px: int,
    height_px: int,
    samples_per_side: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:  # (3, 1), (3, R), (R,)
    """Return origin, unit directions and cosines to the optical axis of a view's rays.

    Each pixel is divided into a square of samples, a ray through the middle of each; one sample
    is the ray K⁻¹ (u + 0.5, v + 0.5, 1). R runs over rows of samples of the whole picture.
    """
    pose = torch.from_numpy(cam_to_world).to(device, torch.float32)
    n = samples_per_side
    x = (torch.arange(width_px * n, device=device) + 0.5) / n - width_px / 2
    y = (torch.arange(height_px * n, device=device) + 0.5) / n - height_px / 2
    y, x = torch.meshgrid(y / focal_px, x / focal_px, indexing="ij")
    in_camera = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    cosine = 1 / length(in_camera)
    return pose[:3, 3:], pose[:3, :3] @ (in_camera * cosine), cosine


def poses_bounds(
    cameras: CameraArray,
    width_px: int,
    height_px: int,
    bounds: FloatArray,  # (V, 2)
) -> FloatArray:  # (V, 17)
    """Return rows of an LLFF `poses_bounds.npy`: axes down, right, backward, hwf, near and far."""
    right, down, forward, centre = np.moveaxis(cameras.cam_to_world[:, :3], 2, 0)
    size = np.broadcast_to([height_px, width_px, cameras.focal * width_px], centre.shape)
    matrix = np.stack([down, right, -forward, centre, size], axis=2)
    return np.concatenate([matrix.reshape(-1, 15), bounds], axis=1)
