"""Photographs of a capture: which stored folder is read, in what order, at what size."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from gsn.captures.capture import ByteArray, CaptureError
from gsn.captures.decode import decode_rgb
from gsn.captures.read_config import ReadConfig

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
ASPECT_TOLERANCE = 0.02  # relative; a pixel more for the rounding of sizes
Size = tuple[int, int]  # rows, columns


@dataclass(frozen=True)
class Photographs:
    """The views of a capture at working size."""

    sha256: tuple[str, ...]  # of each file
    images: ByteArray  # (V, H, W, 3) RGB
    stored_size: Size  # of the files, before shrinking


def list_image_files(folder: Path) -> list[Path]:
    """Return the JPEG and PNG files of a folder in the order of their names; hidden ones left out.

    The order is that of whole file names, as LLFF has it: `a-b.jpg` comes before `a.jpg`.

    Raises:
        CaptureError: Two files have the same stem, by which views are paired.
    """
    if not folder.is_dir():
        return []
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "." and path.is_file()
    )
    first_of: dict[str, Path] = {}
    for path in files:
        other = first_of.setdefault(path.stem, path)
        if other is not path:
            raise CaptureError(
                f"{path}: same stem as {other.name!r}, expected one photograph for each name: "
                "delete one of the two"
            )
    return files


def pick_image_folder(scene: Path, cfg: ReadConfig) -> Path:
    """Choose among `images` and `images_<number>` the folder that serves the size asked for.

    Raises:
        CaptureError: No folder with photographs serves.
    """
    stored = [
        path
        for path in sorted(scene.iterdir())
        if re.fullmatch(r"images(_\d+)?", path.name) and list_image_files(path)
    ]
    if not stored:
        raise CaptureError(
            f"{scene}: found no photographs, expected a folder 'images' or 'images_<factor>' with "
            f"files of type {', '.join(IMAGE_SUFFIXES)}"
        )
    if cfg.long_side_px is not None:
        sides = {path: max(_size_of(list_image_files(path)[0])) for path in stored}
        enough = [path for path in stored if sides[path] >= cfg.long_side_px]
        return min(enough, key=sides.__getitem__) if enough else max(stored, key=sides.__getitem__)
    for name in (f"images_{cfg.factor}", "images"):
        if scene / name in stored:
            return scene / name
    raise CaptureError(
        f"{scene}: found {[path.name for path in stored]}, expected 'images_{cfg.factor}' or "
        "'images': choose the factor of a stored folder, or 'long_side_px' instead"
    )


def working_size(stored: Size, folder: Path, cfg: ReadConfig) -> Size:
    """Return the size that photographs of this folder are shrunk to."""
    ratio = 1.0
    if cfg.long_side_px is not None:
        ratio = min(1.0, cfg.long_side_px / max(stored))
    elif cfg.factor is not None and folder.name == "images":
        ratio = 1.0 / cfg.factor
    return max(1, round(stored[0] * ratio)), max(1, round(stored[1] * ratio))


def read_photographs(files: Sequence[Path], cfg: ReadConfig) -> Photographs:
    """Read the files, in this order, and shrink them by averaging over pixel areas.

    Raises:
        CaptureError: A file is damaged, or of another size than the first.
    """
    hashes, images = [], []
    stored_size: Size | None = None
    for path in files:
        data = path.read_bytes()
        image = decode_rgb(path, data)
        size = image.shape[0], image.shape[1]
        stored_size = stored_size or size
        if size != stored_size:
            raise CaptureError(
                f"{path}: {_shown(size)} pixels, expected {_shown(stored_size)} as in "
                f"{files[0].name!r}: all photographs of a scene must have one size"
            )
        hashes.append(hashlib.sha256(data).hexdigest())
        images.append(shrink(image, working_size(size, path.parent, cfg)))
    assert stored_size is not None
    return Photographs(tuple(hashes), np.stack(images), stored_size)


def shrink(image: ByteArray, size: Size) -> ByteArray:
    """Resize by averaging over pixel areas."""
    if image.shape[:2] == size:
        return image
    return np.asarray(
        cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def nearest(values: npt.NDArray[np.generic], size: Size) -> npt.NDArray[np.generic]:  # (H, W)
    """Resize (h, w) values, that must not mix, by taking the one below each new pixel's centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.intp)
        for new, old in zip(size, values.shape, strict=True)
    )
    return np.asarray(values[rows[:, None], columns])


def same_aspect(size: Size, other: tuple[float, float]) -> bool:
    """Whether `size` could be `other` resized, but for rounding."""
    return abs(size[1] - size[0] * other[1] / other[0]) <= ASPECT_TOLERANCE * size[1] + 1


def _size_of(path: Path) -> Size:
    image = decode_rgb(path, path.read_bytes())
    return image.shape[0], image.shape[1]


def _shown(size: Size) -> str:
    return f"{size[1]}×{size[0]}"
