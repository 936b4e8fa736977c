"""The depth range of a scene from the depths of the points that its views see."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gsn.captures.capture import CaptureError, FloatArray
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.poses import opencv_from_opengl, recentre

SMALLEST_BOUND = 4 / 3  # in scene units, after scaling
PERCENTILES = (0.1, 99.9)  # of the depths of a view, as LLFF has them (arXiv:1905.00889)
SMALLEST, DEEPEST = 1e-9, 1e9  # world units; far over near: float32 must hold both
FEWEST_SEEN = 8  # points that bound the depth of a view


@dataclass(frozen=True)
class DepthRange:
    """Nearest and farthest depth of a scene, in world units, and the margins around them."""

    near: float
    far: float
    near_scale: float = 1.0
    far_scale: float = 1.0

    def __post_init__(self) -> None:
        if not (SMALLEST < self.near < self.far < min(np.inf, DEEPEST * self.near)):  # nor NaN
            raise CaptureError(
                f"depth from {self.near:g} to {self.far:g}, expected 0 < near < far, and far at "
                f"most {DEEPEST:g} times near: the points or bounds of the cameras are wrong, "
                "solve them again"
            )

    def in_scene(self, scale: float) -> tuple[float, float]:
        """Return near and far with their margins, after so many scene units per world unit."""
        return self.near * scale * self.near_scale, self.far * scale * self.far_scale


def depth_bounds(
    bounds: FloatArray,  # (V, 2)
    outlier_percent: float,
) -> tuple[float, float]:
    """Return the nearest and farthest depth of the scene, less the outliers at each end."""
    near = float(np.percentile(bounds[:, 0], outlier_percent))
    far = float(np.percentile(bounds[:, 1], 100 - outlier_percent))
    return near, far


def range_of_depths(
    depths: Sequence[FloatArray],  # (n,) of each view, in world units
    cfg: ReadConfig,
) -> DepthRange | None:
    """Return the range of what the views see; None if no view sees enough points.

    Points behind a camera do not count, and neither do views that see only a few.
    """
    before = [view[view > 0] for view in depths]
    bounds = [np.percentile(view, PERCENTILES) for view in before if len(view) >= FEWEST_SEEN]
    if not bounds:
        return None
    near, far = depth_bounds(np.stack(bounds), cfg.outlier_percent)
    return DepthRange(near, far, cfg.near_scale, cfg.far_scale)


def depths_of(
    points: FloatArray,  # (P, 3), in the world
    world_to_cam: FloatArray,  # (4, 4), OpenCV axes
) -> FloatArray:  # (P,)
    """Return the depths of points along the optical axis."""
    return np.asarray(points @ world_to_cam[2, :3] + world_to_cam[2, 3])


def depths_in_frame(
    points: FloatArray,  # (P, 3), in the world
    cam_to_world: FloatArray,  # (V, 4, 4), OpenCV axes
    intrinsics: FloatArray,  # (V, 3, 3)
    size: tuple[int, int],  # rows, columns
) -> list[FloatArray]:
    """Return the depths of the points before each camera that fall into its frame."""
    depths = []
    for to_world, matrix in zip(cam_to_world, intrinsics, strict=True):
        to_cam = np.linalg.inv(to_world)
        x, y, z = matrix @ (to_cam[:3, :3] @ points.T + to_cam[:3, 3:])
        inside = (z > 0) & (x >= 0) & (x <= size[1] * z) & (y >= 0) & (y <= size[0] * z)
        depths.append(np.asarray(z[inside]))
    return depths


def place_in_scene(
    cam_to_world: FloatArray,  # (V, 4, 4), OpenGL axes, world units
    depth: DepthRange,
) -> tuple[FloatArray, float]:  # (V, 4, 4), OpenCV axes, scene units
    """Recentre the cameras and scale the world so that the nearest depth becomes 4/3.

    Returns:
        The cameras, and scene units per world unit.
    """
    scale = SMALLEST_BOUND / depth.near
    scaled = cam_to_world.copy()
    scaled[:, :3, 3] *= scale
    return opencv_from_opengl(recentre(scaled)), scale
