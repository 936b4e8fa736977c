"""Which format a capture folder has, its reader, and the files of it that matter."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from gsn.captures.capture import Capture, CaptureError
from gsn.captures.origin import files_below
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.colmap import find_model, photograph_names, read_colmap, read_model
from gsn.captures.readers.llff import POSES_FILE, files_in_layout, read_llff
from gsn.captures.readers.photo_files import all_copies
from gsn.captures.readers.transforms import (
    ONE_FILE,
    SYNTHETIC_FILE,
    find_transforms,
    read_transforms,
)
from gsn.captures.readers.transforms_form import load_transforms

Format = Literal["llff", "transforms", "nerf_synthetic", "colmap"]
LABELS = ("masks", "depth", "prompts")  # beside the photographs, in every format
MODEL_FILE = r"(cameras|images|points3D)\.(bin|txt)"

READERS: dict[Format, Callable[[Path, ReadConfig], Capture]] = {
    "llff": read_llff,
    "transforms": read_transforms,
    "nerf_synthetic": read_transforms,
    "colmap": read_colmap,
}


def find_format(folder: Path) -> Format | None:
    """Return the format; where the cameras are there in several, the first of `READERS`."""
    if (folder / POSES_FILE).is_file():
        return "llff"
    transforms = find_transforms(folder)
    if transforms is not None:
        return "nerf_synthetic" if transforms.name == SYNTHETIC_FILE else "transforms"
    return None if find_model(folder) is None else "colmap"


def detect_format(folder: Path) -> Format:
    """Return the format of a capture.

    Raises:
        CaptureError: It is none of those that are read.
    """
    found = find_format(folder)
    if found is None:
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None
        raise CaptureError(
            f"{folder}: {'no such folder' if there is None else f'found {there[:8]}'}, expected "
            f"the cameras of a capture: {POSES_FILE} (LLFF), {ONE_FILE} (nerfstudio, instant-ngp), "
            f"{SYNTHETIC_FILE} (NeRF-synthetic) or sparse/0 (COLMAP)"
        )
    return found


def read_capture(folder: Path, cfg: ReadConfig) -> Capture:
    """Read a scene in whatever format it has; its name is that of the folder.

    Raises:
        CaptureError: Something is missing, damaged or does not fit together.
    """
    return READERS[detect_format(folder)](folder, cfg)


def files_of_capture(folder: Path) -> list[Path]:
    """Return the files that the reader of this capture can use, sorted, less hidden ones.

    Without cameras, the files of LLFF layout: whoever reads them says what is missing.

    Raises:
        CaptureError: The file of cameras, which names the others, is damaged.
    """
    found = find_format(folder)
    if found in (None, "llff"):
        return files_in_layout(folder)
    labels = {path for name in LABELS for path in files_below(folder / name)}
    used = _files_of_colmap(folder) if found == "colmap" else _files_of_transforms(folder)
    return sorted(labels | used)


def _files_of_colmap(folder: Path) -> set[Path]:
    place = find_model(folder)
    assert place is not None
    names = photograph_names(folder, read_model(place))
    model = {path for path in files_below(place) if re.fullmatch(MODEL_FILE, path.name)}
    return model | all_copies(folder, names)


def _files_of_transforms(folder: Path) -> set[Path]:
    path = find_transforms(folder)
    assert path is not None
    content = load_transforms(path)
    points = {folder / content.ply_file_path} if content.ply_file_path else set()
    photographs = all_copies(folder, [frame.name for frame in content.frames])
    return {path} | photographs | {ply for ply in points if ply.is_file()}
