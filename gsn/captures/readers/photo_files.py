"""Photographs that a file of cameras names: where they lie, and what the views are called."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from gsn.captures.capture import CaptureError
from gsn.captures.images import IMAGE_SUFFIXES, pick_image_folder
from gsn.captures.origin import files_below
from gsn.captures.read_config import ReadConfig
from gsn.checks import composed, find_twins
from gsn.strict_yaml import shown

log = logging.getLogger(__name__)
FOLDER_MARK = "__"  # stands for / in the name of a view
ORIGINALS = "images"
ORIGINALS_OR_COPIES = r"images(_\d+)?"


def index_photographs(folder: Path) -> dict[str, Path]:
    """Return the photographs in a folder and below, by their path inside it, in NFC.

    Some systems store an accent as a character of its own (NFD); the list of cameras need not.
    """
    return {
        composed(path.relative_to(folder).as_posix()): path
        for path in files_below(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES
    }


def find_photographs(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the files of those names that have one.

    A name may lack the suffix, or have that of the original where smaller copies have another.

    Raises:
        CaptureError: Without the suffix, two files have the name.
    """
    by_path = index_photographs(folder)
    by_stem: dict[str, list[Path]] = {}
    for inner, path in by_path.items():
        by_stem.setdefault(inner.removesuffix(path.suffix), []).append(path)
    found = {}
    for name in names:
        plain = composed(name)
        if plain in by_path:
            found[name] = by_path[plain]
            continue
        stem = plain.removesuffix(PurePosixPath(plain).suffix)
        files = by_stem.get(plain) or by_stem.get(stem) or []
        if len(files) > 1:
            raise CaptureError(
                f"{folder}: {name!r} may be {files[0].name!r} or {files[1].name!r}, expected one "
                "photograph for each name: delete one of the two"
            )
        if files:
            found[name] = files[0]
    return found


def pick_photographs(
    scene: Path, names: Iterable[str], cfg: ReadConfig
) -> tuple[Path, dict[str, Path]]:
    """Choose `images` or `images_<number>` by the size asked for, and find the photographs there.

    Args:
        scene: Folder of the capture.
        names: Paths inside it, without `.` and `//`; unless all begin with `images/`, no other
            folder serves.
        cfg: Size asked for.

    Returns:
        The folder, and the files of those names that have one.

    Raises:
        CaptureError: There is no photograph.
    """
    listed = list(names)
    shorts = _below_originals(listed)
    folder, prefix = scene, ""
    if shorts is not None:
        prefix = f"{ORIGINALS}/"
        folder = scene / ORIGINALS
        if any(all_copies(scene, listed)):
            folder = pick_image_folder(scene, cfg, partial(_files_of, shorts))
    by_short = find_photographs(folder, listed if shorts is None else shorts)
    found = {f"{prefix}{short}": path for short, path in by_short.items()}
    _report(folder, found, listed)
    return folder, found


def all_copies(scene: Path, names: Iterable[str]) -> set[Path]:
    """Return the photographs of these names in every folder that `pick_photographs` may choose."""
    listed = list(names)
    shorts = _below_originals(listed)
    if shorts is None:
        return set(find_photographs(scene, listed).values())
    folders = [path for path in scene.iterdir() if re.fullmatch(ORIGINALS_OR_COPIES, path.name)]
    return {path for folder in folders for path in _files_of(shorts, folder)}


def name_views(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return the name of each view: its path below the folder that all share, less the suffix.

    Raises:
        CaptureError: Two views have the same name, but for upper and lower case.
    """
    parents = [PurePosixPath(name).parent.parts for name in paths]
    shared = 0
    while all(len(parts) > shared and parts[shared] == parents[0][shared] for parts in parents):
        shared += 1
    names = {
        name: FOLDER_MARK.join([*PurePosixPath(name).parent.parts[shared:], path.stem])
        for name, path in paths.items()
    }
    twins = find_twins(names.values())
    if twins:
        clashing = [name for name, view in names.items() if view in twins]
        raise CaptureError(
            f"{paths[clashing[0]].parent}: {shown(clashing)} would be views {shown(twins)}, "
            "expected a name of its own for each (upper and lower case make no difference): "
            "rename photographs and, alike, their names in the file of cameras"
        )
    return names


def _below_originals(names: Iterable[str]) -> list[str] | None:
    """Return the paths below `images`; None if one leads elsewhere."""
    paths = [PurePosixPath(name) for name in names]
    if any(len(path.parts) < 2 or path.parts[0] != ORIGINALS for path in paths):
        return None
    return [path.relative_to(ORIGINALS).as_posix() for path in paths]


def _files_of(names: Iterable[str], folder: Path) -> list[Path]:
    return list(find_photographs(folder, names).values())


def _report(folder: Path, found: Mapping[str, Path], names: Sequence[str]) -> None:
    """Say which photographs and cameras have no partner; an error if none has."""
    missing = [name for name in names if name not in found]
    if not found:
        raise CaptureError(
            f"{folder}: none of the {len(names)} photographs with a camera is there (such as "
            f"{missing[0]!r}): copy them there under the names that they were solved with"
        )
    if missing:
        log.warning(
            "%s: %d of %d photographs with a camera are not there and left out, such as %r",
            *(folder, len(missing), len(names), missing[0]),
        )
    folders = {path.parent for path in found.values()}
    there = {path for path in index_photographs(folder).values() if path.parent in folders}
    n_other = len(there - set(found.values()))
    if n_other:
        log.warning("%s: %d photographs have no camera and are left out", folder, n_other)
