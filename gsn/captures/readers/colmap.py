"""Reader of captures with a COLMAP sparse model: `images*/` and `sparse/0`, binary or text.

Cameras are undistorted (`gsn.captures.readers.undistort`); the depth range comes from the solved
points that each view sees. Files that newer versions write beside (rigs, frames) say nothing new.
"""

import logging
from pathlib import Path

import numpy as np

from gsn.captures.capture import Capture, CaptureError
from gsn.captures.decode import decode_rgb
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers import colmap_binary, colmap_text
from gsn.captures.readers.colmap_model import Points, SolvedImage, SparseModel, check_model
from gsn.captures.readers.depth_range import DepthRange, depths_of, range_of_depths
from gsn.captures.readers.photo_files import ORIGINALS, name_views, pick_photographs
from gsn.captures.readers.solved_views import PosedImages, SolvedView, build_capture
from gsn.captures.readers.triangulate import range_of_matches
from gsn.captures.user_files import read_bytes

log = logging.getLogger(__name__)
MODEL_FOLDERS = ("sparse/0", "sparse", "sparse_text")
PARSERS = {".bin": colmap_binary, ".txt": colmap_text}


def find_model(folder: Path) -> Path | None:
    """Return the first folder of a capture that has a file of a model, be it incomplete."""
    for place in MODEL_FOLDERS:
        for name in ("cameras", "images"):
            if any((folder / place / f"{name}{suffix}").is_file() for suffix in PARSERS):
                return folder / place
    return None


def read_model(place: Path) -> SparseModel:
    """Read the model in a folder; where it is there in both forms, the binary one.

    Raises:
        CaptureError: A file is missing or damaged, or the files do not belong together.
    """
    for suffix, parser in PARSERS.items():
        cameras, images, points = (
            place / f"{name}{suffix}" for name in ("cameras", "images", "points3D")
        )
        if not (cameras.is_file() and images.is_file()):
            continue
        model = SparseModel(
            lenses=parser.parse_cameras(cameras, read_bytes(cameras)),
            images=parser.parse_images(images, read_bytes(images)),
            points=parser.parse_points(points, read_bytes(points))
            if points.is_file()
            else Points(np.zeros(0, np.int64), np.zeros((0, 3))),
        )
        try:
            check_model(model.lenses, model.images)
        except ValueError as error:
            raise CaptureError(f"{place}: {error}") from error
        return model
    raise CaptureError(
        f"{place}: found {sorted(path.name for path in place.iterdir())}, expected cameras and "
        "images, both as .bin or both as .txt: copy the whole model"
    )


def read_colmap(folder: Path, cfg: ReadConfig) -> Capture:
    """Read one scene; its name is that of the folder.

    Photographs without a camera, and cameras without a photograph, are left out with a warning.

    Raises:
        CaptureError: Something is missing, damaged or does not fit together.
    """
    place = find_model(folder)
    if place is None:
        raise CaptureError(f"{folder}: no COLMAP model, expected one in {', '.join(MODEL_FOLDERS)}")
    _warn_of_others(place)
    model = read_model(place)
    by_name = dict(zip(photograph_names(folder, model), model.images, strict=True))
    image_folder, files = pick_photographs(folder, by_name, cfg)
    names = name_views(files)
    order = sorted(files)
    views = [
        SolvedView(
            name=names[name],
            file=files[name],
            lens=model.lenses[by_name[name].lens],
            cam_to_world=np.asarray(np.linalg.inv(by_name[name].world_to_cam)),
        )
        for name in order
    ]
    images = [by_name[name] for name in order]

    def find_range(posed: PosedImages) -> DepthRange:
        return range_of_points(images, model.points, cfg) or range_of_matches(folder, posed, cfg)

    return build_capture(folder, image_folder, views, cfg, find_range, decode_rgb)


def photograph_names(folder: Path, model: SparseModel) -> list[str]:
    """Return where each photograph lies in the capture: below `images`, as COLMAP was run there.

    Where it was run in the folder above, names begin with `images/` themselves.
    """
    names = [image.name for image in model.images]
    below = [Path(name).as_posix() for name in names]
    if all(name.startswith(f"{ORIGINALS}/") for name in below):
        if not (folder / ORIGINALS / ORIGINALS).is_dir():
            return below
    return [f"{ORIGINALS}/{name}" for name in below]


def range_of_points(
    images: list[SolvedImage], points: Points, cfg: ReadConfig
) -> DepthRange | None:
    """Return the range of the depths of the points that each image sees; None without points."""
    depths = []
    for image in images:
        row = np.searchsorted(points.numbers, image.seen)
        row = row[np.isin(image.seen, points.numbers)]
        depths.append(depths_of(points.positions[row], image.world_to_cam))
    return range_of_depths(depths, cfg)


def _warn_of_others(place: Path) -> None:
    """Say that COLMAP solved parts of the scene apart; the parts have no common frame."""
    others = [path.name for path in place.parent.iterdir() if path.is_dir() and path != place]
    if place.name == "0" and others:
        log.warning("%s: read; %s beside it are other models, not read", place, ", ".join(others))
