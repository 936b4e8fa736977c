"""What a COLMAP sparse model holds, and the checks that its binary and its text form share.

COLMAP (Schönberger and Frahm 2016) maps the world to OpenCV cameras, x right, y down, z forward,
and its image plane has the corner (0, 0): as here, so no number changes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from gsn.captures.capture import FloatArray
from gsn.captures.readers.undistort import Lens

# Number of parameters of the camera models that are read, in the order of COLMAP's own numbers.
N_PARAMETERS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5, "OPENCV": 8}
MODELS_BY_NUMBER = (
    *N_PARAMETERS,
    "OPENCV_FISHEYE",
    "FULL_OPENCV",
    "FOV",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "THIN_PRISM_FISHEYE",
)
UNIT_TOLERANCE = 1e-3  # of the length of a quaternion
FARTHEST = 1e12  # numbers beyond it are no positions


@dataclass(frozen=True)
class Points:
    """Solved points of a scene."""

    numbers: npt.NDArray[np.int64]  # (P,), rising
    positions: FloatArray  # (P, 3), in world units


@dataclass(frozen=True)
class SolvedImage:
    """A photograph with a camera."""

    name: str  # path below the folder of photographs
    lens: int  # number of its lens
    world_to_cam: FloatArray  # (4, 4), OpenCV axes
    seen: npt.NDArray[np.int64]  # (K,), numbers of the points that it sees


@dataclass(frozen=True)
class SparseModel:
    """One reconstruction."""

    lenses: Mapping[int, Lens]
    images: Sequence[SolvedImage]
    points: Points


def lens_of(model: str, size: tuple[int, int], parameters: Sequence[float]) -> Lens:
    """Make a lens of a camera of COLMAP.

    Args:
        model: Name of the camera model.
        size: Rows and columns.
        parameters: As the model orders them.

    Raises:
        ValueError: The model is not among those that are read, or a number is one that no camera
            has.
    """
    if model not in N_PARAMETERS:
        raise ValueError(unread_model(model))
    if len(parameters) != N_PARAMETERS[model]:
        raise ValueError(
            f"{len(parameters)} parameters, expected {N_PARAMETERS[model]} for {model}"
        )
    n_focal = 2 if model in ("PINHOLE", "OPENCV") else 1
    focal, centre = parameters[:n_focal], parameters[n_focal : n_focal + 2]
    bend = parameters[n_focal + 2 :]
    k1, k2, p1, p2 = (*bend, 0.0, 0.0, 0.0, 0.0)[:4]
    return Lens(size, (focal[0], focal[-1]), (centre[0], centre[1]), (k1, k2, p1, p2, 0.0))


def unread_model(model: str) -> str:
    """Say what to do about a camera model that is not read."""
    return (
        f"camera model {model}, expected one of {', '.join(N_PARAMETERS)}: undistort the "
        "photographs with `colmap image_undistorter --image_path images --input_path sparse/0 "
        "--output_path undistorted --output_type COLMAP` and take the folder 'undistorted'"
    )


def transform_of(
    quaternion: Sequence[float],  # (w, x, y, z)
    translation: Sequence[float],  # (3,), in world units
) -> FloatArray:  # (4, 4)
    """Make the world-to-camera transform of an image.

    Raises:
        ValueError: Numbers are not finite, or the quaternion has not the length 1.
    """
    numbers = np.array([*quaternion, *translation], dtype=np.float64)
    if not (np.abs(numbers) < FARTHEST).all():  # NaN included
        raise ValueError(f"pose {numbers.tolist()}, expected finite numbers below {FARTHEST:g}")
    length = float(np.linalg.norm(numbers[:4]))
    if abs(length - 1) > UNIT_TOLERANCE:
        raise ValueError(f"a quaternion of length {length:g}, expected 1")
    w, x, y, z = numbers[:4] / length
    transform = np.eye(4)
    transform[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    transform[:3, 3] = numbers[4:]
    return transform


def check_inner_path(name: str) -> str:
    """Return a path that stays below its folder.

    Raises:
        ValueError: It is empty, absolute, climbs with `..`, or holds control characters.
    """
    path = PurePosixPath(name)
    # A drive or a share of Windows would lead out there.
    absolute = path.is_absolute() or name[:1] == "\\" or name[1:2] == ":"
    if not path.name or absolute or ".." in name.replace("\\", "/").split("/"):
        raise ValueError(f"file name {name!r}, expected a path that stays below its folder")
    if not name.isprintable():
        raise ValueError(f"file name {name!r}, expected one without control characters")
    return name


def points_of(numbers: Sequence[int], positions: Sequence[Sequence[float]]) -> Points:
    """Sort points by their numbers.

    Raises:
        ValueError: A position is not finite, or a number stands twice.
    """
    table = np.array(positions, dtype=np.float64).reshape(-1, 3)
    if not (np.abs(table) < FARTHEST).all():  # NaN included
        raise ValueError(f"a point that is not finite, expected numbers below {FARTHEST:g}")
    keys = np.array(numbers, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    if (np.diff(keys[order]) == 0).any():
        raise ValueError("two points have the same number, expected each once")
    return Points(keys[order], table[order])


def check_model(lenses: Mapping[int, Lens], images: Sequence[SolvedImage]) -> None:
    """Check what only the files together show.

    Raises:
        ValueError: There is no image, two have one name, or one has a camera that is not listed.
    """
    if not images:
        raise ValueError("no images, expected the solved photographs of a scene")
    (name, count), *_ = Counter(image.name for image in images).most_common(1)
    if count > 1:
        raise ValueError(f"image {name!r} stands {count} times, expected each photograph once")
    for image in images:
        if image.lens not in lenses:
            raise ValueError(
                f"image {image.name!r} was taken with camera {image.lens}, which the file of "
                f"cameras has not: it has {sorted(lenses)[:8]}; the files are of two models"
            )
