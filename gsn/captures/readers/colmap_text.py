"""COLMAP's text model files: bytes → lenses, images, points. Comments begin with `#`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gsn.captures.capture import CaptureError
from gsn.captures.readers.colmap_model import (
    Points,
    SolvedImage,
    check_inner_path,
    lens_of,
    points_of,
    transform_of,
)
from gsn.captures.readers.undistort import Lens

CAMERA = "CAMERA_ID MODEL WIDTH HEIGHT"  # PARAMS...
IMAGE = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
POINT = "POINT3D_ID X Y Z"  # R G B ERROR TRACK...


def parse_cameras(path: Path, data: bytes) -> dict[int, Lens]:
    """Read `cameras.txt`, a line a camera; the path is for messages.

    Raises:
        CaptureError: It is damaged, or a camera model is not among those that are read.
    """
    lenses = {}
    for number, line in _lines(path, data):
        try:
            camera, model, width, height, *parameters = _words(line, CAMERA)
            if int(camera) in lenses:
                raise ValueError(f"camera {camera} stands twice")
            size = int(height), int(width)
            lenses[int(camera)] = lens_of(model, size, [float(word) for word in parameters])
        except ValueError as error:
            raise _fault(path, number, error) from error
    return lenses


def parse_images(path: Path, data: bytes) -> list[SolvedImage]:
    """Read `images.txt`, two lines an image; the path is for messages.

    The name, in the first, may have blanks; the second is X Y POINT3D_ID of each feature, and may
    be empty.

    Raises:
        CaptureError: It is damaged, or holds a pose or a name that no photograph has.
    """
    images = []
    lines = _lines(path, data, second_may_be_empty=True)
    for number, line in lines:
        second, features = next(lines, (number + 1, ""))
        try:
            _, *pose, camera, name = _words(line, IMAGE)
            numbers = [float(word) for word in pose]
            transform = transform_of(numbers[:4], numbers[4:])
            place = check_inner_path(name.rstrip()), int(camera)
        except ValueError as error:
            raise _fault(path, number, error) from error
        try:
            words = features.split()
            if len(words) % 3:
                raise ValueError(f"{len(words)} words, expected X Y POINT3D_ID for each feature")
            seen = np.array([int(word) for word in words[2::3]], dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise _fault(path, second, error) from error
        images.append(SolvedImage(*place, transform, seen[seen >= 0]))
    return images


def parse_points(path: Path, data: bytes) -> Points:
    """Read `points3D.txt`, a line a point; the path is for messages.

    Raises:
        CaptureError: It is damaged, or a point is not finite.
    """
    numbers, positions = [], []
    for number, line in _lines(path, data):
        try:
            point, x, y, z, *_ = _words(line, POINT)
            numbers.append(int(point))
            positions.append([float(x), float(y), float(z)])
        except ValueError as error:
            raise _fault(path, number, error) from error
    try:
        return points_of(numbers, positions)
    except (ValueError, OverflowError) as error:
        raise CaptureError(f"{path}: {error}") from error


def _lines(path: Path, data: bytes, second_may_be_empty: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, with their numbers from 1."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CaptureError(
            f"{path}: {error}, expected UTF-8 text: export the model again"
        ) from error
    in_pair = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#") or not (line.strip() or in_pair):
            continue
        in_pair = second_may_be_empty and not in_pair
        yield number, line


def _words(line: str, form: str) -> list[str]:
    """Divide a line into the words of its form; a name at its end may have blanks."""
    wanted = form.split()
    words = line.split(maxsplit=len(wanted) - 1 if wanted[-1] == "NAME" else -1)
    if len(words) < len(wanted):
        raise ValueError(f"{len(words)} words, expected {form}")
    return words


def _fault(path: Path, line: int, error: Exception) -> CaptureError:
    return CaptureError(
        f"{path}: line {line}: {error} (of COLMAP's text form; if the file is damaged, copy it "
        "again or export the model once more)"
    )
