"""The path of the film: a spiral around the mean camera, looking at one point (spec of LLFF)."""

import numpy as np
import torch
from torch import Tensor

from gsn.captures.capture import FloatArray
from gsn.captures.readers.poses import mean_cam_to_world, opencv_from_opengl
from gsn.geometry.cameras import Cameras
from gsn.geometry.source_views import nearest_views

N_TURNS = 2  # the path sways along the optical axis once in two turns, and so closes
RADIUS_PERCENTILE = 90.0  # of the distances of the cameras from the mean one, for each axis
FAR_OVER_BOUND = 5.0  # the far end that the focus is weighed with, in farthest depth bounds
FAR_SCALE = 1.6  # `far` of a scene, in farthest depth bounds, unless its preparation says otherwise
NEAR_WEIGHT, FAR_WEIGHT = 0.25, 0.75
FACING = 0.7  # length of the mean of all viewing directions, above which they face one way
N_NEIGHBOURS = 5


def spiral(cameras: Cameras, near: Tensor, far: Tensor, n_frames: int) -> Cameras:
    """Return cameras along a spiral of two turns (LLFF, arXiv 1905.00889, as NeRF's code draws it).

    Where the cameras surround the scene their mean stands within it and looks nowhere; the spiral
    is then drawn around the mean of the first camera and its nearest neighbours instead.

    Args:
        cameras: Of the source views.
        near: Nearest depth of the scene.
        far: Farthest depth of the scene.
        n_frames: Cameras to return; all have the intrinsics of the first source view.
    """
    device = cameras.cam_to_world.device
    forward = cameras.cam_to_world[:, :3, 2]
    if float(forward.mean(dim=0).norm()) < FACING:
        cameras = cameras[nearest_views(cameras.centres[0], cameras.centres, N_NEIGHBOURS)]
    # OpenCV and OpenGL differ in the sign of two axes: the same product leads back and forth.
    opengl = opencv_from_opengl(cameras.cam_to_world.cpu().double().numpy())
    mean = mean_cam_to_world(opengl)
    centres = opengl[:, :3, 3] @ np.linalg.inv(mean)[:3, :3].T + np.linalg.inv(mean)[:3, 3]
    radii = np.percentile(np.abs(centres), RADIUS_PERCENTILE, axis=0)
    far_end = float(far) * FAR_OVER_BOUND / FAR_SCALE
    focus = 1.0 / (NEAR_WEIGHT / float(near) + FAR_WEIGHT / far_end)
    look_at = mean @ np.array([0.0, 0.0, -focus, 1.0])
    poses = []
    for angle in np.linspace(0.0, 2 * np.pi * N_TURNS, n_frames, endpoint=False):
        offset = np.array([np.cos(angle), -np.sin(angle), -np.sin(angle / N_TURNS)]) * radii
        centre = mean @ np.array([*offset, 1.0])
        pose = np.eye(4)
        pose[:3, 2] = _unit(centre[:3] - look_at[:3])
        pose[:3, 0] = _unit(np.cross(opengl[:, :3, 1].mean(axis=0), pose[:3, 2]))
        pose[:3, 1] = np.cross(pose[:3, 2], pose[:3, 0])
        pose[:3, 3] = centre[:3]
        poses.append(pose)
    cam_to_world = torch.from_numpy(opencv_from_opengl(np.stack(poses))).float().to(device)
    intrinsics = cameras.intrinsics[:1].expand(n_frames, 3, 3)
    return Cameras(intrinsics, cam_to_world, cameras.height, cameras.width)


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector))
