"""Lenses, and photographs seen through them → photographs seen through a pinhole.

A point (x, y, 1) before the camera is bent to (x, y)·(1 + k1 r² + k2 r⁴ + k3 r⁶) plus a tangential
part with p1 and p2 (Brown 1966), then focal length and principal point map it to the image plane,
whose corner is (0, 0). OpenCV's functions count from pixel centres and so take half a pixel less.

The pinhole has the size of the photograph, the lens's principal point, and its focal lengths times
one factor: the smallest with which the photograph fills every pixel, so no black border comes in.
Lenses of somewhat different sizes, as they come out of other undistorters, are cropped in the
middle to the rows and columns that all have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gsn.captures.capture import CaptureError, FloatArray
from gsn.captures.images import Size

PIXEL_CENTRE = 0.5
MOST_CROPPED = 0.1  # of a side, for the sake of one size
LONGEST_SIDE_PX = 32766  # OpenCV resamples no more
STRONGEST_ZOOM = 2.0
BORDER_POINTS = 200  # on each edge, where the frame of the photograph is traced
BENT_BACK_PX = 0.05  # how far a border point may miss itself after there and back
EXACT = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 200, 1e-10)


@dataclass(frozen=True)
class Lens:
    """How a camera maps to its image plane, in pixels of a photograph of `size`."""

    size: Size
    focal: tuple[float, float]  # x, y
    centre: tuple[float, float]  # x, y of the principal point
    distortion: tuple[float, ...] = (0.0,) * 5  # k1 k2 p1 p2 k3, as OpenCV orders them

    def __post_init__(self) -> None:
        rows, columns = self.size
        numbers = (*self.focal, *self.centre, *self.distortion)
        if not (1 <= rows <= LONGEST_SIDE_PX and 1 <= columns <= LONGEST_SIDE_PX):
            raise ValueError(
                f"a photograph of {columns}×{rows} pixels, expected 1 to {LONGEST_SIDE_PX} a side"
            )
        if not np.isfinite(numbers).all():
            raise ValueError(f"camera parameters {numbers}, expected finite numbers")
        if min(self.focal) <= 0:
            raise ValueError(f"focal lengths {self.focal}, expected more than 0")
        if not (0 < self.centre[0] < columns and 0 < self.centre[1] < rows):
            raise ValueError(
                f"principal point {self.centre}, expected it inside of {columns}×{rows} pixels"
            )

    def matrix(self, size: Size) -> FloatArray:  # (3, 3)
        """Return K for the same photograph stored at another size, each axis by its own ratio."""
        y, x = size[0] / self.size[0], size[1] / self.size[1]
        (fx, fy), (cx, cy) = self.focal, self.centre
        return np.array([[fx * x, 0, cx * x], [0, fy * y, cy * y], [0, 0, 1]])


def common_size(lenses: Sequence[Lens]) -> Size:
    """Return the rows and columns that the photographs of all lenses have.

    Raises:
        CaptureError: A photograph would lose too much.
    """
    rows, columns = np.array([lens.size for lens in lenses]).min(axis=0).tolist()
    for lens in lenses:
        if (1 - MOST_CROPPED) * lens.size[0] > rows or (1 - MOST_CROPPED) * lens.size[1] > columns:
            raise CaptureError(
                f"cameras of {lens.size[1]}×{lens.size[0]} pixels beside others of {columns} "
                f"columns or {rows} rows, expected one size for all photographs of a scene (up to "
                f"{MOST_CROPPED:.0%} is cropped): leave out those of the other size"
            )
    return rows, columns


def pinhole_of(lens: Lens, size: Size) -> Lens:
    """Return the lens without distortion, cropped in the middle to `size`.

    Raises:
        ValueError: The distortion is beyond what a photograph can have.
    """
    # Whole pixels, so that a crop alone resamples nothing.
    row, column = (lens.size[0] - size[0]) // 2, (lens.size[1] - size[1]) // 2
    centre = lens.centre[0] - column, lens.centre[1] - row
    zoom = _least_zoom(lens) if any(lens.distortion) else 1.0
    focal = lens.focal[0] * zoom, lens.focal[1] * zoom
    return Lens(size, focal, centre)


def rectify(
    values: npt.NDArray[np.generic],  # (h, w) or (h, w, C), as the lens sees them
    lens: Lens,
    pinhole: Lens,
    size: Size,
    mix: bool,
) -> npt.NDArray[np.generic]:  # (*size) or (*size, C), as the pinhole sees them
    """Resample a photograph, mask or depth map stored at any size.

    Args:
        values: What is stored; the whole frame of the lens.
        lens: How it was taken.
        pinhole: What `pinhole_of` made of the lens.
        size: Rows and columns of the result.
        mix: Whether values may be interpolated (bicubic); else the nearest is taken.
    """
    stored = values.shape[0], values.shape[1]
    if lens == pinhole and stored == size:
        return values
    if max(*stored, *size) > LONGEST_SIDE_PX:
        raise ValueError(f"{stored[1]}×{stored[0]} pixels, expected up to {LONGEST_SIDE_PX} a side")
    pixels: npt.NDArray[Any] = values
    if values.dtype not in (np.uint8, np.uint16, np.float32, np.float64):  # as OpenCV takes them
        pixels = values.astype(np.float32)
    maps = cv2.initUndistortRectifyMap(
        _by_index(lens.matrix(stored)),
        np.array(lens.distortion),
        None,
        _by_index(pinhole.matrix(size)),
        (size[1], size[0]),
        cv2.CV_32FC1,
    )
    # At the border the bicubic kernel reaches beyond the photograph by a pixel.
    kernel = cv2.INTER_CUBIC if mix else cv2.INTER_NEAREST
    return np.asarray(cv2.remap(pixels, *maps, kernel, borderMode=cv2.BORDER_REPLICATE))


def _least_zoom(lens: Lens) -> float:
    """Return the smallest factor of the focal lengths with which the photograph fills the frame."""
    rows, columns = lens.size
    x = np.linspace(PIXEL_CENTRE, columns - PIXEL_CENTRE, BORDER_POINTS)
    y = np.linspace(PIXEL_CENTRE, rows - PIXEL_CENTRE, BORDER_POINTS)
    left, right = (_straightened(lens, np.stack([0 * y + edge, y], 1)) for edge in x[[0, -1]])
    top, bottom = (_straightened(lens, np.stack([x, 0 * x + edge], 1)) for edge in y[[0, -1]])
    (fx, fy), (cx, cy) = lens.focal, lens.centre
    seen = (-left[:, 0].max(), right[:, 0].min(), -top[:, 1].max(), bottom[:, 1].min())
    wanted = ((cx - x[0]) / fx, (x[-1] - cx) / fx, (cy - y[0]) / fy, (y[-1] - cy) / fy)
    zooms = [float(a / b) if b > 0 else np.inf for a, b in zip(wanted, seen, strict=True)]
    if not max(zooms) <= STRONGEST_ZOOM:
        raise _beyond(lens)
    zoom = max(zooms)
    _check_order(lens, replace(lens, focal=(fx * zoom, fy * zoom), distortion=(0.0,) * 5))
    return zoom


def _straightened(
    lens: Lens,
    points: FloatArray,  # (N, 2), on the image plane
) -> FloatArray:  # (N, 2), x and y at depth 1
    """Undo the lens, and check that doing it again leads back."""
    matrix, bend = lens.matrix(lens.size), np.array(lens.distortion)
    straight = cv2.undistortPoints(points[:, None], matrix, bend, criteria=EXACT)[:, 0]
    rays = np.concatenate([straight, np.ones((len(straight), 1))], axis=1)
    again = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, bend)[0][:, 0]
    if not np.abs(again - points).max() <= BENT_BACK_PX:  # NaN included
        raise _beyond(lens)
    return np.asarray(straight, dtype=np.float64)


def _check_order(lens: Lens, pinhole: Lens) -> None:
    """Refuse a polynomial that turns back within the frame: two rays would share a pixel."""
    coarse = (min(lens.size[0], BORDER_POINTS), min(lens.size[1], BORDER_POINTS))
    x, y = cv2.initUndistortRectifyMap(
        _by_index(lens.matrix(coarse)),
        np.array(lens.distortion),
        None,
        _by_index(pinhole.matrix(coarse)),
        (coarse[1], coarse[0]),
        cv2.CV_32FC1,
    )
    if not ((np.diff(x, axis=1) > 0).all() and (np.diff(y, axis=0) > 0).all()):
        raise _beyond(lens)


def _by_index(matrix: FloatArray) -> FloatArray:  # (3, 3)
    """Return K that maps to pixel indices, from K that maps to the image plane."""
    moved = matrix.copy()
    moved[:2, 2] -= PIXEL_CENTRE
    return moved


def _beyond(lens: Lens) -> ValueError:
    k1, k2, p1, p2, k3 = lens.distortion
    return ValueError(
        f"lens distortion k1 {k1:g}, k2 {k2:g}, k3 {k3:g}, p1 {p1:g}, p2 {p2:g} cannot be undone "
        f"over a photograph of {lens.size[1]}×{lens.size[0]} pixels with focal length "
        f"{lens.focal[0]:g}: solve the cameras again with a simpler camera model"
    )
