"""The form of `transforms.json`, of nerfstudio, instant-ngp and NeRF-synthetic, checked.

A frame names a photograph and its camera-to-world matrix, with OpenGL axes. The keys of a lens
stand in the file, or in a frame for that frame alone. Keys not named here say nothing about the
geometry, and are not read.
"""

import math
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from gsn.captures.capture import CaptureError, FloatArray
from gsn.captures.images import Size
from gsn.captures.readers.colmap_model import FARTHEST, N_PARAMETERS, check_inner_path
from gsn.captures.readers.poses import ROTATION_TOLERANCE
from gsn.captures.readers.undistort import LONGEST_SIDE_PX, Lens
from gsn.captures.user_files import load_json
from gsn.strict_yaml import validate

FORM = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
Length = Annotated[float, Field(gt=0, lt=FARTHEST)]
Side = Annotated[float, Field(ge=1, le=LONGEST_SIDE_PX)]
Angle = Annotated[float, Field(gt=0, lt=math.pi)]
Row = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, config=FORM)
class LensKeys:
    """What the file says of all lenses, and a frame of its own."""

    camera_model: str | None = None
    is_fisheye: bool | None = None
    ftheta_p0: float | None = None
    w: Side | None = None
    h: Side | None = None
    fl_x: Length | None = None
    fl_y: Length | None = None
    camera_angle_x: Angle | None = None  # of the whole width, in radians
    camera_angle_y: Angle | None = None
    cx: float | None = None
    cy: float | None = None
    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    k4: float | None = None
    p1: float | None = None
    p2: float | None = None


@dataclass(frozen=True, kw_only=True, config=FORM)
class Frame(LensKeys):
    """One photograph."""

    file_path: str
    transform_matrix: tuple[Row, Row, Row, Row]  # camera to world, OpenGL axes

    @property
    def name(self) -> str:
        """Path of the photograph in the capture, perhaps without its suffix."""
        return PurePosixPath(self.file_path).as_posix()


@dataclass(frozen=True, kw_only=True, config=FORM)
class Transforms(LensKeys):
    """The file."""

    frames: list[Frame]
    ply_file_path: str | None = None
    near: Length | None = None  # depths, in units of the matrices
    far: Length | None = None

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("'frames' is empty, expected the photographs of a scene")
        if (self.near is None) != (self.far is None):
            raise ValueError("one of 'near' and 'far', expected both or neither")
        if self.ply_file_path is not None:
            check_inner_path(self.ply_file_path)
        seen = set()
        for frame in self.frames:
            check_inner_path(frame.file_path)
            if frame.name in seen:
                raise ValueError(f"{frame.file_path!r} stands twice, expected each photograph once")
            seen.add(frame.name)
            _check_matrix(frame)

    @property
    def has_only_an_angle(self) -> bool:
        """Whether nothing but `camera_angle_x` tells of lens and depth, as in NeRF-synthetic."""
        told = {
            key
            for keys in (self, *self.frames)
            for key in (*LensKeys.__dataclass_fields__, "ply_file_path", "near")
            if getattr(keys, key, None) is not None
        }
        return told == {"camera_angle_x"}


def load_transforms(path: Path) -> Transforms:
    """Read the file.

    Raises:
        CaptureError: It is no JSON, or a value is missing, of a wrong type or out of range.
    """
    content = load_json(path)
    try:
        return validate(content, Transforms, Frame)
    except ValueError as error:
        raise CaptureError(f"{path}: {error}; expected the form of nerfstudio") from error


def lens_of_frame(keys: Transforms, frame: Frame, size_if_untold: Size) -> Lens:
    """Make the lens of a frame; what it does not say, the file says.

    Args:
        keys: The file.
        frame: One of its frames.
        size_if_untold: Rows and columns of the photograph for which the numbers hold.

    Raises:
        ValueError: The camera is none that is read, or has no focal length.
    """
    of = {
        key: getattr(keys if getattr(frame, key) is None else frame, key)
        for key in LensKeys.__dataclass_fields__
    }
    _check_model(of)
    size = (
        size_if_untold[0] if of["h"] is None else round(of["h"]),
        size_if_untold[1] if of["w"] is None else round(of["w"]),
    )
    focal_x = of["fl_x"] or _focal(size[1], of["camera_angle_x"])
    focal_y = of["fl_y"] or _focal(size[0], of["camera_angle_y"])
    # Pixels are square where one of the two is told.
    focal_x, focal_y = focal_x or focal_y, focal_y or focal_x
    if focal_x is None or focal_y is None:
        raise ValueError(
            f"{frame.file_path!r} has no focal length, expected 'fl_x' (pixels) or "
            "'camera_angle_x' (radians) in the file or in each frame"
        )
    centre = (
        size[1] / 2 if of["cx"] is None else of["cx"],
        size[0] / 2 if of["cy"] is None else of["cy"],
    )
    k1, k2, p1, p2, k3 = (of[key] or 0.0 for key in ("k1", "k2", "p1", "p2", "k3"))
    return Lens(size, (focal_x, focal_y), centre, (k1, k2, p1, p2, k3))


def cam_to_world_of(frame: Frame) -> FloatArray:  # (4, 4), OpenGL axes
    """Return the pose of a frame."""
    return np.array(frame.transform_matrix)


def _focal(side_px: int, angle: float | None) -> float | None:
    return None if angle is None else side_px / 2 / math.tan(angle / 2)


def _check_model(of: dict[str, object]) -> None:
    model = of["camera_model"]
    if of["is_fisheye"] or of["ftheta_p0"] is not None:
        model = "fisheye"
    if model is not None and model not in N_PARAMETERS:
        raise ValueError(
            f"camera model {model!r}, expected one of {', '.join(N_PARAMETERS)}: undistort the "
            "photographs to a pinhole and solve their cameras again"
        )
    if of["k4"]:
        raise ValueError(
            f"k4 is {of['k4']}, expected 0 or none: undistort the photographs to a pinhole and "
            "solve their cameras again"
        )


def _check_matrix(frame: Frame) -> None:
    matrix = np.array(frame.transform_matrix)
    fault = None
    if not (np.abs(matrix) < FARTHEST).all():
        fault = f"holds numbers beyond {FARTHEST:g}"
    elif not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=1e-6):
        fault = f"has the last row {matrix[3].tolist()}, expected 0 0 0 1"
    elif np.abs(matrix[:3, :3].T @ matrix[:3, :3] - np.eye(3)).max() > ROTATION_TOLERANCE:
        fault = "has a rotation that is not orthonormal, expected unit axes at right angles"
    elif np.linalg.det(matrix[:3, :3]) < 0:
        fault = "has a mirrored rotation, expected determinant +1 (right, up, backward)"
    if fault:
        raise ValueError(f"'transform_matrix' of {frame.file_path!r} {fault}")
