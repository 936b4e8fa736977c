"""The depth range of a scene without solved points: matches of neighbouring views, triangulated.

It is rough. On nine real captures whose solved points are known, the nearest depth came out at 0.85
to 1.6 times theirs (once, for a sparse orbit, 3.5 times), the farthest at 0.5 to 1.9 times.
"""

import logging
from pathlib import Path

import cv2
import numpy as np

from gsn.captures.capture import CaptureError, FloatArray
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.depth_range import FEWEST_SEEN, DepthRange, range_of_depths
from gsn.captures.readers.matches import find_features, match_features
from gsn.captures.readers.solved_views import PosedImages

log = logging.getLogger(__name__)
NEIGHBOURS = 4  # of each view, by the distance of centres
WIDEST_DEGREES = 45.0  # between the optical axes of views that are matched
SMALLEST_PARALLAX_DEGREES = 1.0  # between the two rays of a point: below, its depth is a guess
LARGEST_MISS_PX = 1.0  # of a point in either view


def range_of_matches(folder: Path, posed: PosedImages, cfg: ReadConfig) -> DepthRange:
    """Return the range of the depths of points that neighbouring views share.

    Raises:
        CaptureError: Too few points are found to tell it; the folder is for the message.
    """
    log.warning(
        "%s: no solved points: the depth range is a rough one, from matches of neighbouring views",
        folder,
    )
    features = [find_features(image) for image in posed.images]
    depths: list[list[FloatArray]] = [[np.zeros(0)] for _ in features]
    for a, b in _pairs(posed.cam_to_world):
        in_a, in_b = match_features(features[a], features[b])
        of_a, of_b = _depths(posed, (a, b), in_a, in_b)
        depths[a].append(of_a)
        depths[b].append(of_b)
    found = range_of_depths([np.concatenate(of_view) for of_view in depths], cfg)
    if found is None:
        raise CaptureError(
            f"{folder}: no depth range: there are no solved points, and fewer than {FEWEST_SEEN} "
            "points a view could be triangulated from matches of neighbouring views; expected "
            "points3D of COLMAP, or in transforms.json 'ply_file_path', or the depths 'near' and "
            "'far' in its units: add them"
        )
    return found


def _pairs(cam_to_world: FloatArray) -> list[tuple[int, int]]:  # (V, 4, 4)
    """Return neighbours that look roughly the same way, each pair once."""
    centres, forward = cam_to_world[:, :3, 3], cam_to_world[:, :3, 2]
    distance = np.linalg.norm(centres[:, None] - centres, axis=-1)
    alike = forward @ forward.T > np.cos(np.radians(WIDEST_DEGREES))
    distance[~alike | (distance == 0)] = np.inf
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
    pairs = {
        (min(a, b), max(a, b))
        for a, row in enumerate(nearest.tolist())
        for b in row
        if np.isfinite(distance[a, b])
    }
    return sorted(pairs)


def _depths(
    posed: PosedImages,
    pair: tuple[int, int],
    in_a: FloatArray,  # (N, 2), on the image plane
    in_b: FloatArray,  # (N, 2)
) -> tuple[FloatArray, FloatArray]:
    """Triangulate matches; return the depths, in both views, of those that fit well."""
    if not len(in_a):
        return np.zeros(0), np.zeros(0)
    to_cam = np.linalg.inv(posed.cam_to_world[list(pair)])[:, :3]
    to_plane = posed.intrinsics[list(pair)] @ to_cam
    homogeneous = cv2.triangulatePoints(to_plane[0], to_plane[1], in_a.T, in_b.T)
    with np.errstate(divide="ignore", invalid="ignore"):  # points at infinity
        points = np.concatenate([homogeneous[:3] / homogeneous[3], np.ones((1, len(in_a)))])
        planes = to_plane @ points  # (2, 3, N)
        misses = planes[:, :2] / planes[:, 2:] - np.stack([in_a.T, in_b.T])
        rays = points[:3] - posed.cam_to_world[list(pair), :3, 3][..., None]  # (2, 3, N)
        cosine = (rays[0] * rays[1]).sum(axis=0) / np.linalg.norm(rays, axis=1).prod(axis=0)
        depths = (to_cam @ points)[:, 2]
        good = (
            (depths > 0).all(axis=0)
            & (np.linalg.norm(misses, axis=1) < LARGEST_MISS_PX).all(axis=0)
            & (cosine < np.cos(np.radians(SMALLEST_PARALLAX_DEGREES)))
        )
    return depths[0, good], depths[1, good]
