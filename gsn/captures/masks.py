"""Masks and depth maps of a capture, paired with its views by file stem.

`masks/<stem>.png` is 0/255 for one object, or holds object numbers that `masks/labels.json` names
({"1": "cup", "2": "plate"}). `depth/<stem>.npy` holds the depth along the optical axis in world
units; not positive or not finite means unknown.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gsn.captures.capture import ByteArray, CaptureError, Masks
from gsn.captures.decode import decode_stored, to_8_bit
from gsn.captures.images import Size, list_files, nearest, same_aspect, shrink
from gsn.captures.user_files import load_array, load_json, read_bytes
from gsn.checks import composed
from gsn.strict_yaml import LONGEST_VALUE, shown

log = logging.getLogger(__name__)
Pixels = npt.NDArray[np.generic]  # (h, w), as stored
Change = Callable[[int, Pixels], Pixels]  # of the view with this number
ONE_OBJECT = "object"  # its name where masks are 0/255
THRESHOLD = 127  # above it, a 0/255 mask shows the object


def keep(_: int, pixels: Pixels) -> Pixels:
    """Return the values of a view as they are stored."""
    return pixels


def read_masks(
    folder: Path, view_names: Sequence[str], size: Size, change: Change = keep
) -> Masks | None:
    """Read the masks of the views at working size; None if there is no folder.

    Args:
        folder: May be missing.
        view_names: Stems of the files.
        size: Of the views.
        change: What is done to the stored values first, such as an undistortion.

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
            values[k] = _read_mask(files[name], numbers, size, partial(change, k))
    labels = tuple(numbers.values()) if numbers else (ONE_OBJECT,)
    return Masks(labels, values, np.array([name in files for name in view_names]))


def read_depth(
    folder: Path, view_names: Sequence[str], size: Size, scale: float, change: Change = keep
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
            changed = change(k, _load_depth(files[name]))
            _check_aspect(files[name], changed, size)
            stored = nearest(changed, size).astype(np.float64)
            with np.errstate(over="ignore"):
                scaled = (stored * scale).astype(np.float32)
            depth[k] = np.where(np.isfinite(scaled) & (scaled > 0), scaled, np.nan)
    return depth


def _files_by_stem(folder: Path, suffix: str, view_names: Sequence[str]) -> dict[str, Path] | None:
    """Return the files that belong to views; those of no view are counted in the log."""
    if not folder.is_dir():
        return None
    found: dict[str, Path] = {}
    for path in list_files(folder, (suffix,)):
        found[composed(path.stem)] = path
    files = {name: found[composed(name)] for name in view_names if composed(name) in found}
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
    entries = load_json(path)
    try:
        labels = {int(number): name for number, name in entries.items()}  # type: ignore[attr-defined]
    except (ValueError, AttributeError) as error:
        raise CaptureError(f'{path}: {error}; expected {{"1": "name", ...}}') from error
    names = [name for name in labels.values() if isinstance(name, str) and name.isprintable()]
    good = all(names) and len(set(names)) == len(labels) == len(entries)  # type: ignore[arg-type]
    if not labels or not good:
        raise CaptureError(
            f"{path}: expected a name of its own for each object, found {shown(entries)}"
        )
    if min(labels) < 1 or max(labels) > 255:
        raise CaptureError(
            f"{path}: object numbers {shown(sorted(labels))}, expected 1 to 255 (0 is everything "
            "else)"
        )
    return dict(sorted(labels.items()))


def _read_mask(
    path: Path, numbers: dict[int, str] | None, size: Size, change: Callable[[Pixels], Pixels]
) -> ByteArray:  # (H, W)
    stored = decode_stored(path, read_bytes(path))
    if stored.ndim == 3:
        if (stored[..., :3] != stored[..., :1]).any():
            raise CaptureError(f"{path}: the mask has colours, expected a grey PNG: convert it")
        stored = stored[..., 0]
    stored = change(stored)
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


def _load_depth(path: Path) -> npt.NDArray[np.generic]:  # (h, w)
    depth = load_array(path, "a plain (rows, columns) array of floats")
    if depth.ndim != 2 or depth.size == 0 or not np.issubdtype(depth.dtype, np.floating):
        raise CaptureError(
            f"{path}: found {str(depth.dtype)[:LONGEST_VALUE]} {depth.shape}, expected (rows, "
            "columns) of floats"
        )
    return depth


def _check_aspect(path: Path, values: npt.NDArray[np.generic], size: Size) -> None:
    rows, columns = values.shape
    if not same_aspect(size, (rows, columns)):
        raise CaptureError(
            f"{path}: {columns}×{rows} pixels, expected the aspect of the photographs, which are "
            f"read at {size[1]}×{size[0]}: it is of another photograph, or cropped or turned"
        )
