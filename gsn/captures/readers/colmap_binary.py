"""COLMAP's binary model files: bytes → lenses, images, points.

Little endian, no padding; every count is checked against the bytes that are left before anything of
its size is made.
"""

import struct
from pathlib import Path

import numpy as np

from gsn.captures.capture import CaptureError
from gsn.captures.readers.colmap_model import (
    MODELS_BY_NUMBER,
    N_PARAMETERS,
    Points,
    SolvedImage,
    check_inner_path,
    lens_of,
    points_of,
    transform_of,
    unread_model,
)
from gsn.captures.readers.undistort import Lens

COUNT = struct.Struct("<Q")
CAMERA = struct.Struct("<IiQQ")  # number, model, width, height; then the parameters
IMAGE = struct.Struct("<I4d3dI")  # number, quaternion, translation, camera; then name and points
POINT = struct.Struct("<Q3d3BdQ")  # number, position, colour, error, length of the track
TRACK_ENTRY = struct.Struct("<II")  # image, index of the point in it
SEEN = np.dtype([("position", "<f8", 2), ("point", "<i8")])  # a feature; -1: of no solved point
LONGEST_NAME = 4096  # bytes
FEWEST_PARAMETERS = 8 * min(N_PARAMETERS.values())


class _Cursor:
    """A place in the bytes that never moves beyond their end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, n_bytes: int) -> int:
        """Step over so many bytes and return where they begin."""
        if n_bytes > self.left:
            raise ValueError(f"{self.left} bytes left at byte {self.at}, expected {n_bytes}")
        self.at += n_bytes
        return self.at - n_bytes

    def unpack(self, form: struct.Struct) -> tuple[int | float, ...]:
        return form.unpack_from(self.data, self.take(form.size))

    def count(self, what: str, smallest: int) -> int:
        """Read how many entries of at least so many bytes follow."""
        (count,) = COUNT.unpack_from(self.data, self.take(COUNT.size))
        if count * smallest > self.left:
            raise ValueError(f"{count} {what} announced, but {self.left} bytes are left")
        return int(count)

    def text(self) -> str:
        """Read up to the next zero byte."""
        end = self.data.find(b"\0", self.at, self.at + LONGEST_NAME + 1)
        if end < 0:
            raise ValueError(f"a name at byte {self.at} without an end")
        return self.data[self.take(end + 1 - self.at) : end].decode()

    def finish(self) -> None:
        if self.left:
            raise ValueError(f"{self.left} bytes too many at the end")


def parse_cameras(path: Path, data: bytes) -> dict[int, Lens]:
    """Read `cameras.bin`; the path is for messages.

    Raises:
        CaptureError: It is damaged, or a camera model is not among those that are read.
    """
    try:
        cursor = _Cursor(data)
        lenses = {}
        for _ in range(cursor.count("cameras", CAMERA.size + FEWEST_PARAMETERS)):
            number, model, width, height = CAMERA.unpack_from(data, cursor.take(CAMERA.size))
            name = MODELS_BY_NUMBER[model] if 0 <= model < len(MODELS_BY_NUMBER) else f"no. {model}"
            if name not in N_PARAMETERS:
                raise ValueError(unread_model(name))
            parameters = cursor.unpack(struct.Struct(f"<{N_PARAMETERS[name]}d"))
            if number in lenses:
                raise ValueError(f"camera {number} stands twice")
            lenses[number] = lens_of(name, (height, width), parameters)
        cursor.finish()
    except ValueError as error:
        raise _fault(path, error) from error
    return lenses


def parse_images(path: Path, data: bytes) -> list[SolvedImage]:
    """Read `images.bin`; the path is for messages.

    Raises:
        CaptureError: It is damaged, or holds a pose or a name that no photograph has.
    """
    images = []
    try:
        cursor = _Cursor(data)
        for _ in range(cursor.count("images", IMAGE.size + 1 + COUNT.size)):
            _, *pose, camera = IMAGE.unpack_from(data, cursor.take(IMAGE.size))
            transform = transform_of(pose[:4], pose[4:])
            name = check_inner_path(cursor.text())
            n_seen = cursor.count("points of an image", SEEN.itemsize)
            start = cursor.take(n_seen * SEEN.itemsize)
            seen = np.frombuffer(data, SEEN, n_seen, start)["point"].astype(np.int64)
            images.append(SolvedImage(name, camera, transform, seen[seen >= 0]))
        cursor.finish()
    except ValueError as error:
        raise _fault(path, error) from error
    return images


def parse_points(path: Path, data: bytes) -> Points:
    """Read `points3D.bin`; the path is for messages.

    Raises:
        CaptureError: It is damaged, or a point is not finite.
    """
    numbers, positions = [], []
    try:
        cursor = _Cursor(data)
        for _ in range(cursor.count("points", POINT.size)):
            number, *position_and_more, n_track = POINT.unpack_from(data, cursor.take(POINT.size))
            cursor.take(n_track * TRACK_ENTRY.size)
            numbers.append(_signed(number))
            positions.append(position_and_more[:3])
        cursor.finish()
        return points_of(numbers, positions)
    except ValueError as error:
        raise _fault(path, error) from error


def _signed(number: int) -> int:
    if number >= 2**63:
        raise ValueError(f"point number {number}, expected less than 2⁶³")
    return number


def _fault(path: Path, error: ValueError) -> CaptureError:
    return CaptureError(
        f"{path}: {error} (of COLMAP's binary form; if the file is damaged, copy it again or "
        "export the model once more)"
    )
