"""Reader of captures with `transforms.json` (nerfstudio, instant-ngp) or `transforms_train.json`.

Alpha is laid over white, as NeRF-synthetic is evaluated. The depth range is, in this order: `near`
and `far` of the file; 2 and 6 for NeRF-synthetic, as published; the points of `ply_file_path` that
fall into each view; matches of neighbouring views. Margins (`near_scale`, `far_scale`) belong to
ranges that are estimated, not to the first two.
"""

import logging
from pathlib import Path

import numpy as np

from gsn.captures.capture import ByteArray, Capture, CaptureError
from gsn.captures.decode import decode_rgb, decode_stored, to_8_bit
from gsn.captures.images import Size
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.depth_range import DepthRange, depths_in_frame, range_of_depths
from gsn.captures.readers.photo_files import find_photographs, name_views, pick_photographs
from gsn.captures.readers.ply import parse_ply
from gsn.captures.readers.poses import opencv_from_opengl
from gsn.captures.readers.solved_views import PosedImages, SolvedView, build_capture
from gsn.captures.readers.transforms_form import (
    Transforms,
    cam_to_world_of,
    lens_of_frame,
    load_transforms,
)
from gsn.captures.readers.triangulate import range_of_matches
from gsn.captures.user_files import read_bytes

log = logging.getLogger(__name__)
ONE_FILE, SYNTHETIC_FILE = "transforms.json", "transforms_train.json"
SYNTHETIC_RANGE = 2.0, 6.0  # Mildenhall et al. 2020 (arXiv:2003.08934)


def find_transforms(folder: Path) -> Path | None:
    """Return the file of cameras of a capture."""
    files = (folder / name for name in (ONE_FILE, SYNTHETIC_FILE))
    return next((path for path in files if path.is_file()), None)


def read_transforms(folder: Path, cfg: ReadConfig) -> Capture:
    """Read one scene; its name is that of the folder.

    Of NeRF-synthetic that is `transforms_train.json`: which views are held out, the caller decides.

    Raises:
        CaptureError: Something is missing, damaged or does not fit together.
    """
    path = find_transforms(folder)
    if path is None:
        raise CaptureError(f"{folder}: expected {ONE_FILE!r} or {SYNTHETIC_FILE!r}")
    content = load_transforms(path)
    frames = {frame.name: frame for frame in content.frames}
    image_folder, files = pick_photographs(folder, frames, cfg)
    size = _size_of_lens(path, content, image_folder, files)
    names = name_views(files)
    views = []
    for name in sorted(files):
        try:
            lens = lens_of_frame(content, frames[name], size)
        except ValueError as error:
            raise CaptureError(f"{path}: {error}") from error
        cam_to_world = opencv_from_opengl(cam_to_world_of(frames[name]))
        views.append(SolvedView(names[name], files[name], lens, cam_to_world))

    def find_range(posed: PosedImages) -> DepthRange:
        told = _told_range(path, content)
        return (
            told or _range_of_ply(path, content, posed, cfg) or range_of_matches(folder, posed, cfg)
        )

    return build_capture(folder, image_folder, views, cfg, find_range, decode_over_white)


def decode_over_white(path: Path, data: bytes) -> ByteArray:  # (H, W, 3)
    """Decode an image; where it has alpha, lay it over white.

    Raises:
        CaptureError: The file is damaged or neither JPEG nor PNG.
    """
    pixels = decode_stored(path, data)
    if pixels.ndim < 3 or pixels.shape[2] < 4:
        return decode_rgb(path, data)
    stored = to_8_bit(pixels).astype(np.float32)
    alpha = stored[..., 3:] / 255
    over = stored[..., 2::-1] * alpha + 255 * (1 - alpha)
    return np.rint(over).astype(np.uint8)


def _size_of_lens(
    path: Path, content: Transforms, image_folder: Path, files: dict[str, Path]
) -> Size:
    """Return the size that lenses are meant for where the file is silent: that of the originals.

    Raises:
        CaptureError: There are only smaller copies, and lenses are told in pixels.
    """
    name, file = next(iter(files.items()))
    original = find_photographs(path.parent, [name]).get(name)
    silent = any(frame.w is None and content.w is None for frame in content.frames)
    silent |= any(frame.h is None and content.h is None for frame in content.frames)
    in_pixels = any(
        getattr(keys, key) is not None
        for keys in (content, *content.frames)
        for key in ("fl_x", "fl_y", "cx", "cy")
    )
    if original is None and silent and in_pixels:
        raise CaptureError(
            f"{path}: no 'w' and 'h', and in {image_folder} only smaller copies of the "
            "photographs: add the size in pixels for which 'fl_x' holds"
        )
    shown = original or file
    rows, columns, _ = decode_rgb(shown, read_bytes(shown)).shape
    return rows, columns


def _told_range(path: Path, content: Transforms) -> DepthRange | None:
    if content.near is not None and content.far is not None:
        try:
            return DepthRange(content.near, content.far)
        except CaptureError as error:
            raise CaptureError(f"{path}: {error}") from error
    if path.name == SYNTHETIC_FILE and content.has_only_an_angle:
        return DepthRange(*SYNTHETIC_RANGE)
    return None


def _range_of_ply(
    path: Path, content: Transforms, posed: PosedImages, cfg: ReadConfig
) -> DepthRange | None:
    """Return the range of the points before each camera; what hides them is not known."""
    if content.ply_file_path is None:
        return None
    ply = path.parent / content.ply_file_path
    if not ply.is_file():
        log.warning("%s: no such file, though %s names it: depth from matches", ply, path.name)
        return None
    points = parse_ply(ply, read_bytes(ply))
    size = posed.images.shape[1], posed.images.shape[2]
    depths = depths_in_frame(points, posed.cam_to_world, posed.intrinsics, size)
    return range_of_depths(depths, cfg)
