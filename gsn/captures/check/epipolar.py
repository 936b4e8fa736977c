"""How well the cameras of a capture explain what is seen in its photographs.

Points matched between neighbouring views (`gsn.captures.readers.matches`, which knows no camera)
must lie on each other's epipolar lines (Hartley and Zisserman 2004, chapter 9), before both
cameras, and within the depth range.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gsn.captures.capture import Capture, FloatArray
from gsn.captures.readers.matches import find_features, match_features
from gsn.threads import map_in_threads

NEIGHBOURS = 4  # of each view
FEWEST_MATCHES = 16  # of a pair that judges: in pairs without a common point up to 12 were found
SMALLEST_PARALLAX = np.radians(1.0)  # between two rays whose crossing has a known depth
SMALLEST_BASELINE = 1e-4  # of the nearest depth; closer cameras have no epipolar lines to speak of
DEPTH_MARGIN = 0.1  # relative; a point this far out of the depth range still counts as inside
FOCAL_SCALES = (0.5, 0.7, 0.8, 0.9, 1.1, 1.25, 1.4, 2.0)  # tried instead of the given focal length


@dataclass(frozen=True)
class MatchedPair:
    """Points seen in two views of a capture."""

    a: int
    b: int
    in_a: FloatArray  # (N, 2), x and y on the image plane
    in_b: FloatArray  # (N, 2)


@dataclass(frozen=True)
class Agreement:
    """What the matches say about the cameras. Errors are in pixels of the photographs."""

    view_error_px: FloatArray  # (V,), of the best pair of each view; NaN: no pair to judge it by
    view_matches: npt.NDArray[np.intp]  # (V,), of that pair
    in_front: float  # share of the points that lie before both cameras; NaN: none to tell by
    in_range: float  # share of those that lie within the depth range; NaN: none to tell by
    focal_scale: float  # the best of 1 and FOCAL_SCALES
    focal_error_px: float  # the median error with this times the focal length

    @cached_property
    def judged(self) -> npt.NDArray[np.bool_]:  # (V,)
        """Which views have a pair to judge them by."""
        return np.isfinite(self.view_error_px)

    @property
    def error_px(self) -> float:
        """Median over the judged views; NaN where there is none."""
        return _median(self.view_error_px[self.judged])


def compare_with_matches(capture: Capture, n_threads: int) -> Agreement:
    """Match neighbouring views and compare the matches with the cameras."""
    pairs = match_neighbours(capture, n_threads)
    error, matches = _errors_of_views(capture, pairs, 1.0)
    in_front, in_range = _shares_of_points(capture, pairs)
    errors = {1.0: _median(error[np.isfinite(error)])}
    for scale in FOCAL_SCALES:
        scaled, _ = _errors_of_views(capture, pairs, scale)
        errors[scale] = _median(scaled[np.isfinite(scaled)])
    best = min(errors, key=errors.__getitem__)
    return Agreement(error, matches, in_front, in_range, best, errors[best])


def match_neighbours(capture: Capture, n_threads: int) -> list[MatchedPair]:
    """Match each view with its neighbours; pairs with too few matches to judge by are left out."""
    features = list(map_in_threads(capture.images, find_features, n_threads))

    def match(pair: tuple[int, int]) -> MatchedPair:
        return MatchedPair(*pair, *match_features(features[pair[0]], features[pair[1]]))

    pairs = neighbouring_pairs(capture.cam_to_world, capture.near)
    matched = map_in_threads(pairs, match, n_threads)
    return [pair for pair in matched if len(pair.in_a) >= FEWEST_MATCHES]


def neighbouring_pairs(
    cam_to_world: FloatArray,  # (V, 4, 4)
    near: float,
) -> list[tuple[int, int]]:
    """Return the pairs of views that see much in common, each once, the lower number first.

    Near is who turned little and moved little: the angle between the axes plus the angle at which
    the nearest object sees both cameras. Views that follow each other by name are pairs as well:
    most captures are walks, and there a camera in a wrong place keeps its true neighbours.
    """
    centres, axes = cam_to_world[:, :3, 3], cam_to_world[:, :3, 2]
    turn = np.arccos(np.clip(axes @ axes.T, -1, 1))  # (V, V)
    baseline = np.linalg.norm(centres[:, None] - centres, axis=-1) / near
    serves = baseline > SMALLEST_BASELINE  # not with itself
    apart = np.where(serves, turn + baseline, np.inf)
    pairs = {(view, view + 1) for view in range(len(apart) - 1)}
    for view, others in enumerate(np.argsort(apart, axis=1, kind="stable").tolist()):
        pairs |= {(min(view, other), max(view, other)) for other in others[:NEIGHBOURS]}
    return sorted(pair for pair in pairs if serves[pair])


def epipolar_distances(
    pair: MatchedPair,
    intrinsics: FloatArray,  # (V, 3, 3)
    cam_to_world: FloatArray,  # (V, 4, 4)
) -> FloatArray:  # (N,)
    """Return the mean distance, in pixels, of both points of each match from their epipolar lines.

    The cameras must stand in two places.
    """
    a_to_b = np.linalg.inv(cam_to_world[pair.b]) @ cam_to_world[pair.a]
    essential = _cross_matrix(a_to_b[:3, 3]) @ a_to_b[:3, :3]
    to_a, to_b = np.linalg.inv(intrinsics[pair.a]), np.linalg.inv(intrinsics[pair.b])
    fundamental = to_b.T @ essential @ to_a  # x_bᵀ F x_a = 0
    in_a, in_b = _homogeneous(pair.in_a), _homogeneous(pair.in_b)
    lines_in_b, lines_in_a = in_a @ fundamental.T, in_b @ fundamental
    product = np.abs((in_b * lines_in_b).sum(axis=1))
    steepness = np.stack([np.hypot(*lines[:, :2].T) for lines in (lines_in_a, lines_in_b)])
    return np.asarray((product / np.maximum(steepness, np.finfo(float).tiny)).mean(axis=0))


def crossing_depths(
    pair: MatchedPair,
    intrinsics: FloatArray,  # (V, 3, 3)
    cam_to_world: FloatArray,  # (V, 4, 4)
) -> FloatArray:  # (M, 2)
    """Return the depths, in both views, at which the rays of each match come closest.

    Negative behind a camera. Matches whose rays are too parallel to tell are left out.
    """
    rays_a, rays_b = (
        _homogeneous(points) @ (cam_to_world[view, :3, :3] @ np.linalg.inv(intrinsics[view])).T
        for view, points in ((pair.a, pair.in_a), (pair.b, pair.in_b))
    )
    between = cam_to_world[pair.b, :3, 3] - cam_to_world[pair.a, :3, 3]
    aa, bb, ab = ((u * v).sum(1) for u, v in ((rays_a, rays_a), (rays_b, rays_b), (rays_a, rays_b)))
    at_a, at_b = rays_a @ between, rays_b @ between
    determinant = aa * bb - ab**2  # aa · bb · sin² of the parallax
    tells = determinant > aa * bb * np.sin(SMALLEST_PARALLAX) ** 2
    depths = np.stack([bb * at_a - ab * at_b, ab * at_a - aa * at_b], axis=1)
    return np.asarray(depths[tells] / determinant[tells, None])


def _errors_of_views(
    capture: Capture, pairs: Collection[MatchedPair], focal_scale: float
) -> tuple[FloatArray, npt.NDArray[np.intp]]:  # (V,), (V,)
    """Return the median error of each view's best pair, NaN without one, and its matches.

    The best, for a good view may have a bad neighbour, or one that sees the same twice.
    """
    intrinsics = capture.intrinsics * np.array([[focal_scale], [focal_scale], [1.0]])
    intrinsics[:, :, 2] = capture.intrinsics[:, :, 2]
    error = np.full(len(capture.cam_to_world), np.inf)
    matches = np.zeros(len(error), np.intp)
    for pair in pairs:
        median = _median(epipolar_distances(pair, intrinsics, capture.cam_to_world))
        for view in (pair.a, pair.b):
            if median < error[view]:
                error[view], matches[view] = median, len(pair.in_a)
    return np.where(matches > 0, error, np.nan), matches


def _shares_of_points(capture: Capture, pairs: Collection[MatchedPair]) -> tuple[float, float]:
    """Return the share of points before both cameras, and of those in the depth range."""
    found = [crossing_depths(pair, capture.intrinsics, capture.cam_to_world) for pair in pairs]
    depths = np.concatenate([np.zeros((0, 2)), *found])
    in_front = np.asarray((depths > 0).all(axis=1))
    nearest, farthest = capture.near * (1 - DEPTH_MARGIN), capture.far * (1 + DEPTH_MARGIN)
    in_range = (depths[in_front] >= nearest) & (depths[in_front] <= farthest)
    return _mean(in_front), _mean(in_range)


def _homogeneous(
    points: FloatArray,  # (N, 2)
) -> FloatArray:  # (N, 3)
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _cross_matrix(
    vector: FloatArray,  # (3,)
) -> FloatArray:  # (3, 3)
    """Return the matrix that takes the cross product with the vector."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _mean(values: npt.NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else np.nan
