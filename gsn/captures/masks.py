"""Masks and depth maps of a capture, paired with its views by file stem.

`masks/<stem>.png` is 0/255 for one object, or holds object numbers that `masks/labels.json` names
({"1": "cup", "2": "plate"}). `depth/<stem>.npy` holds the depth along the optical axis in world
units; not positive or not finite means unknown.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gsn.captures.capture import ByteArray, CaptureError, Masks
from gsn.captures.decode import decode_stored, to_8_bit
from gsn.captures.images import Size, nearest, same_aspect, shrink

log = logging.getLogger(__name__)
ONE_OBJECT = "object"  # its name where masks are 0/255
THRESHOLD = 127  # above it, a 0/255 mask shows the object


def read_masks(folder: Path, view_names: Sequence[str], size: Size) -> Masks | None:
    """Read the masks of the views at working size; None if there is no folder.

    Raises:
        CaptureError: No mask belongs to a view, or one is damaged, of another aspect than the
            photographs, or holds a value that names no object.
    """
    files = _files_by_stem(folder, ".png", view_names)
    if files is None:
        return None
    labels_file = folder / "labels.json"
    numbers = _read_labels(labels_file) if labels_file.exists() else None
    values = np.zeros((len(view_names), *size), dtype=np.uint8)
    for k, name in enumerate(view_names):
        if name in files:
            values[k] = _read_mask(files[name], numbers, size)
    labels = tuple(numbers.values()) if numbers else (ONE_OBJECT,)
    return Masks(labels, values, np.array([name in files for name in view_names]))


def read_depth(
    folder: Path, view_names: Sequence[str], size: Size, scale: float
) -> npt.NDArray[np.float32] | None:  # (V, H, W)
    """Read the depth maps at working size, in world units times `scale`; None without a folder.

    Raises:
        CaptureError: No map belongs to a view, or one is damaged or of another aspect than the
            photographs.
    """
    files = _files_by_stem(folder, ".npy", view_names)
    if files is None:
        return None
    depth = np.full((len(view_names), *size), np.nan, dtype=np.float32)
    for k, name in enumerate(view_names):
        if name in files:
            stored = nearest(_load_depth(files[name], size), size).astype(np.float64)
            known = np.isfinite(stored) & (stored > 0)
            depth[k] = np.where(known, stored * scale, np.nan)
    return depth


def _files_by_stem(folder: Path, suffix: str, view_names: Sequence[str]) -> dict[str, Path] | None:
    """Return the files that belong to views; those of no view are counted in the log."""
    if not folder.is_dir():
        return None
    found = {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == suffix and path.name[0] != "." and path.is_file()
    }
    files = {name: found[name] for name in view_names if name in found}
    if not files:
        raise CaptureError(
            f"{folder}: {len(found)} files of type {suffix} and none is named as a view, expected "
            f"{view_names[0] + suffix!r} and so on: rename the files, or remove the folder"
        )
    if len(files) < len(found):
        log.warning("%s: %d files belong to no view", folder, len(found) - len(files))
    return files


def _read_labels(path: Path) -> dict[int, str]:
    """Read the names of the objects by their number in the masks, in rising order."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        labels = {int(number): name for number, name in entries.items()}
    except (ValueError, AttributeError) as error:
        raise CaptureError(f'{path}: {error}; expected {{"1": "name", ...}}') from error
    names = list(labels.values())
    good = all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)
    if not labels or len(labels) != len(entries) or not good:
        raise CaptureError(f"{path}: expected a name of its own for each object, found {entries}")
    if min(labels) < 1 or max(labels) > 255:
        raise CaptureError(
            f"{path}: object numbers {sorted(labels)}, expected 1 to 255 (0 is everything else)"
        )
    return dict(sorted(labels.items()))


def _read_mask(path: Path, numbers: dict[int, str] | None, size: Size) -> ByteArray:  # (H, W)
    stored = decode_stored(path, path.read_bytes())
    if stored.ndim == 3:
        if (stored[..., :3] != stored[..., :1]).any():
            raise CaptureError(f"{path}: the mask has colours, expected a grey PNG: convert it")
        stored = stored[..., 0]
    _check_aspect(path, stored, size)
    if numbers is None:
        return _one_object(path, to_8_bit(stored), size)
    unknown = sorted(set(np.unique(stored).tolist()) - {0, *numbers})
    if unknown:
        raise CaptureError(
            f"{path}: values {unknown[:8]} name no object, expected 0 and {list(numbers)} of "
            "labels.json: add them there, or mend the mask"
        )
    order = np.zeros(256, dtype=np.uint8)
    order[list(numbers)] = np.arange(1, len(numbers) + 1)
    return order[nearest(stored, size).astype(np.intp)]


def _one_object(path: Path, grey: ByteArray, size: Size) -> ByteArray:
    shown = grey > THRESHOLD
    if grey.any() and not shown.any():
        raise CaptureError(
            f"{path}: values up to {grey.max()}, expected 0 and 255, or object numbers with a "
            "labels.json beside the masks: add the file, or write the masks as 0/255"
        )
    binary = np.where(shown, 255, 0).astype(np.uint8)
    smaller = size[0] <= grey.shape[0] and size[1] <= grey.shape[1]
    resized = shrink(binary, size) if smaller else nearest(binary, size)
    return (resized.astype(np.uint8) > THRESHOLD).astype(np.uint8)


def _load_depth(path: Path, size: Size) -> npt.NDArray[np.generic]:  # (h, w)
    try:
        depth = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CaptureError(
            f"{path}: cannot be read ({error}), expected a plain (rows, columns) array of floats"
        ) from error
    wanted = isinstance(depth, np.ndarray) and depth.ndim == 2 and depth.size > 0
    if not wanted or not np.issubdtype(depth.dtype, np.floating):
        found = f"{depth.dtype} {depth.shape}" if isinstance(depth, np.ndarray) else "an archive"
        raise CaptureError(f"{path}: found {found}, expected (rows, columns) of floats")
    _check_aspect(path, depth, size)
    return np.asarray(depth)


def _check_aspect(path: Path, values: npt.NDArray[np.generic], size: Size) -> None:
    rows, columns = values.shape
    if not same_aspect(size, (rows, columns)):
        raise CaptureError(
            f"{path}: {columns}×{rows} pixels, expected the aspect of the photographs, which are "
            f"read at {size[1]}×{size[0]}: it is of another photograph, or cropped or turned"
        )
