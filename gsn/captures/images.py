"""Photographs of a capture: which stored folder is read, in what order, at what size."""

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from gsn.captures.capture import ByteArray, CaptureError
from gsn.captures.decode import decode_rgb
from gsn.captures.read_config import ReadConfig
from gsn.captures.user_files import read_bytes
from gsn.checks import find_twins
from gsn.strict_yaml import shown

log = logging.getLogger(__name__)
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
        CaptureError: See `list_files`.
    """
    return list_files(folder, IMAGE_SUFFIXES)


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of these types, in lower case, in the order of their names.

    Hidden ones are left out, and so are folders and pipes with such a name. Links are followed.

    Raises:
        CaptureError: Two files have the same stem, by which views are paired, but for upper and
            lower case or the coding of letters; a name cannot be printed; a link leads nowhere.
    """
    if not folder.is_dir():
        return []
    files = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name[0] == ".":
            continue
        if not path.name.isprintable():
            raise CaptureError(
                f"{folder}: file {path.name!r}, expected a name without control characters: "
                "rename it"
            )
        if path.is_file():
            files.append(path)
        elif path.is_symlink() and not path.exists():
            raise CaptureError(f"{path}: a link that leads to no file: mend or delete it")
        else:
            log.warning("%s: left out, as it is no file", path)
    twins = find_twins(path.stem for path in files)
    if twins:
        names = [path.name for path in files if path.stem in twins]
        raise CaptureError(
            f"{folder}: same stem of {shown(names)}, expected one file for each name (upper and "
            "lower case make no difference): delete or rename the others"
        )
    return files


def pick_image_folder(
    scene: Path, cfg: ReadConfig, list_files: Callable[[Path], list[Path]] = list_image_files
) -> Path:
    """Choose among `images` and `images_<number>` the folder that serves the size asked for.

    Args:
        scene: Folder of the capture.
        cfg: Size asked for.
        list_files: Returns the photographs of a folder that count; one without any does not serve.

    Raises:
        CaptureError: No folder with photographs serves.
    """
    stored = [
        path
        for path in sorted(scene.iterdir())
        if re.fullmatch(r"images(_\d+)?", path.name) and list_files(path)
    ]
    if not stored:
        raise CaptureError(
            f"{scene}: found no photographs, expected a folder 'images' or 'images_<factor>' with "
            f"files of type {', '.join(IMAGE_SUFFIXES)}"
        )
    if cfg.long_side_px is not None:
        sides = {path: max(_size_of(list_files(path)[0])) for path in stored}
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
    elif cfg.factor is not None and not re.fullmatch(r"images_\d+", folder.name):
        ratio = 1.0 / cfg.factor
    return max(1, round(stored[0] * ratio)), max(1, round(stored[1] * ratio))


def read_photographs(
    files: Sequence[Path],
    cfg: ReadConfig,
    decode: Callable[[Path, bytes], ByteArray] = decode_rgb,
    folder: Path | None = None,
) -> Photographs:
    """Read the files, in this order, and shrink them by averaging over pixel areas.

    Args:
        files: JPEG or PNG files.
        cfg: Size asked for.
        decode: Turns a file and its bytes into (h, w, 3) RGB, all of one size.
        folder: What `pick_image_folder` chose, where the files lie deeper.

    Raises:
        CaptureError: A file is damaged, or of another size than the first.
    """
    hashes, images = [], []
    stored_size: Size | None = None
    for path in files:
        data = read_bytes(path)
        image = decode(path, data)
        size = image.shape[0], image.shape[1]
        stored_size = stored_size or size
        if size != stored_size:
            raise CaptureError(
                f"{path}: {_shown(size)} pixels, expected {_shown(stored_size)} as in "
                f"{files[0].name!r}: all photographs of a scene must have one size"
            )
        hashes.append(hashlib.sha256(data).hexdigest())
        images.append(shrink(image, working_size(size, folder or path.parent, cfg)))
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
    image = decode_rgb(path, read_bytes(path))
    return image.shape[0], image.shape[1]


def _shown(size: Size) -> str:
    return f"{size[1]}×{size[0]}"
