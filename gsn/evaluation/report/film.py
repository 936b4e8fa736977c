"""A film of one scene, as mp4 that browsers play."""

import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from gsn.atomic import complete_or_absent
from gsn.checks import check_shape
from gsn.evaluation.report.pictures import Picture
from gsn.evaluation.report.strip import WHITE, strip

# VP9: the OpenCV of the Python package index has no encoder of H.264, whose licence forbids it.
CODEC = "vp09"


def film_frame(
    colour: Picture,  # (h, w, 3)
    features: Picture | None,  # (h, w, 3)
    mask: Picture | None,  # (h, w, 3), laid over the colour
) -> Picture:  # (H, W, 3)
    """Set colour, features and mask side by side under their titles; small ones are enlarged."""
    panels = [("colour", colour), ("features", features), ("mask", mask)]
    return strip([(title, one) for title, one in panels if one is not None], smooth=True)


def write_film(
    path: Path,
    frames: Iterable[Picture],  # each (H, W, 3), all of one size
    frames_per_second: float,
) -> None:
    """Write frames as they come; `path` is complete or absent, whenever the process is killed.

    Sides of odd length get a white row or column more: the codec halves the resolution of colour.

    Raises:
        ValueError: There is no frame, one is not an RGB picture or of another size than the first,
            or the rate is not positive.
        OSError: OpenCV cannot encode the film, or has not stored all frames.
    """
    if not frames_per_second > 0.0:
        raise ValueError(f"frames_per_second: expected more than 0, got {frames_per_second}")
    # OpenCV chooses the format by the name, so the file cannot be called `.partial` meanwhile.
    with complete_or_absent(path) as partial, TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        n_frames = _encode(film, frames, frames_per_second)
        n_stored = count_frames(film)
        if n_stored != n_frames:
            raise OSError(
                f"{path}: {n_stored} of {n_frames} frames were stored; is there space left in "
                f"{folder}?"
            )
        shutil.copyfile(film, partial)


def count_frames(path: Path) -> int:
    """Return how many frames a film says that it has; 0 if it is none."""
    film = cv2.VideoCapture(str(path))
    try:
        return int(film.get(cv2.CAP_PROP_FRAME_COUNT)) if film.isOpened() else 0
    finally:
        film.release()


def _encode(film: Path, frames: Iterable[Picture], frames_per_second: float) -> int:
    """Write all frames and return their number."""
    left = iter(frames)
    first = next(left, None)
    if first is None:
        raise ValueError("frames: expected at least one, got none")
    check_shape("frame 0", first, "H W 3")
    height, width = (side + side % 2 for side in first.shape[:2])
    writer = cv2.VideoWriter(
        str(film),
        cv2.CAP_FFMPEG,
        cv2.VideoWriter.fourcc(*CODEC),
        frames_per_second,
        (width, height),
    )
    if not writer.isOpened():
        raise OSError(
            f"OpenCV {cv2.__version__} cannot write VP9 as mp4 ({width} x {height}): expected a "
            "build with FFmpeg, as opencv-python-headless from the Python package index is"
        )
    n_frames = 0
    try:
        for frame in chain([first], left):
            check_shape(f"frame {n_frames}", frame, f"{first.shape[0]} {first.shape[1]} 3")
            writer.write(cv2.cvtColor(_padded(frame, height, width), cv2.COLOR_RGB2BGR))
            n_frames += 1
    finally:
        writer.release()
    return n_frames


def _padded(frame: Picture, height: int, width: int) -> Picture:
    missing = ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0))
    return np.pad(frame, missing, constant_values=WHITE)
