"""Which scenes an archive holds: its folders with a `poses_bounds.npy` that fits the photographs.

An archive whose scenes lie at its top, without the folder of their set, is read all the same if it
holds no other set.
"""

import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from tokenize import TokenError

import numpy as np

from gsn.captures.archives.catalogue import SceneSet, sets_of
from gsn.captures.archives.zip_file import ArchiveError, CheckedZip
from gsn.captures.images import IMAGE_SUFFIXES
from gsn.captures.readers.llff import LAYOUT, POSES_FILE
from gsn.scene_names import check_scene_name

HEAD_BYTES = 4096  # of a .npy file; its header is within
LISTS = ("sparse/0/images.bin", "view_imgs.txt")  # name the photographs that have a camera


@dataclass(frozen=True)
class Listing:
    """What the lock keeps of an archive's content."""

    sets: dict[str, dict[str, str]]  # set → scene → folder in the archive
    left_out: dict[str, str]  # folder → why no reader can use it


def is_usable(name: PurePosixPath) -> bool:
    """Whether a reader can use a file of this path in a scene's folder."""
    return re.fullmatch(LAYOUT, name.parts[0]) is not None


def list_scenes(archive: str, packed: CheckedZip) -> Listing:
    """Find the scenes of every set of an archive.

    Args:
        archive: Its name in the catalogue.
        packed: The open archive.

    Raises:
        ArchiveError: A set has no scene, lacks one that is known by name, or has two of one name.
    """
    folders = sorted(name.parent for name in packed.entries if name.name == POSES_FILE)
    files: dict[PurePosixPath, list[PurePosixPath]] = {folder: [] for folder in folders}
    for name in packed.entries:
        for parent in name.parents:
            if parent in files:
                files[parent].append(name.relative_to(parent))
    sets = sets_of(archive)
    left_out: dict[str, str] = {}
    scenes: dict[str, dict[str, str]] = {name: {} for name in sets}
    alone = len({scene_set.folder for scene_set in sets.values()}) == 1
    for folder in folders:
        for set_name, scene_set in sets.items():
            if not _is_in(folder, scene_set, alone):
                continue
            scene = scene_set.scene_name(folder.name)
            if reason := _fault(packed, folder, files[folder], scene):
                left_out[str(folder)] = reason
                continue
            other = scenes[set_name].setdefault(scene, str(folder))
            if other != str(folder):
                raise ArchiveError(f"{packed.path}: {other!r} and {str(folder)!r} are both {scene}")
    _check_complete(packed, sets, scenes, left_out)
    return Listing(scenes, left_out)


def _is_in(folder: PurePosixPath, scenes: SceneSet, alone: bool) -> bool:
    """Whether a folder of the archive is a scene of the set."""
    in_its_folder = folder.parent.name == scenes.folder
    at_the_top = alone and len(folder.parts) == 1
    return (in_its_folder or at_the_top) and scenes.takes(folder.name)


def _fault(
    packed: CheckedZip, folder: PurePosixPath, files: list[PurePosixPath], scene: str
) -> str:
    """Say why no reader can use a scene; empty if one can, as far as names and counts tell."""
    try:
        check_scene_name(scene)
    except ValueError as error:
        return str(error)
    try:
        n_rows = _count_rows(packed.read_head(folder / POSES_FILE, HEAD_BYTES))
    # What numpy has been seen to raise for headers of random text.
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        SyntaxError,
        TokenError,
        RecursionError,
    ) as error:
        return f"{POSES_FILE} cannot be read ({error})"
    if any(str(name) in LISTS for name in files):
        return ""  # the reader pairs rows and photographs by it
    counts = Counter(
        name.parent.name
        for name in files
        if re.fullmatch(r"images(_\d+)?", str(name.parent)) and _is_photograph(name)
    )
    if n_rows in counts.values():
        return ""
    found = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
    return f"{n_rows} rows in {POSES_FILE}, photographs: {found or 'none'}"


def _is_photograph(name: PurePosixPath) -> bool:
    return name.suffix.lower() in IMAGE_SUFFIXES


def _count_rows(head: bytes) -> int:
    """Return the first size of a stored array.

    Raises:
        ValueError: The bytes are no beginning of a `.npy` file of two dimensions.
    """
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, _ = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, _ = np.lib.format.read_array_header_2_0(stream)
    if len(shape) != 2:
        raise ValueError(f"shape {shape}, expected (views, 17)")
    return int(shape[0])


def _check_complete(
    packed: CheckedZip,
    sets: dict[str, SceneSet],
    scenes: dict[str, dict[str, str]],
    left_out: dict[str, str],
) -> None:
    for name, scene_set in sets.items():
        missing = sorted((scene_set.only or set()) - set(scenes[name]))
        if missing or not scenes[name]:
            top = sorted({entry.parts[0] for entry in packed.entries})[:5]
            faults = "".join(f"; {folder}: {reason}" for folder, reason in left_out.items())
            raise ArchiveError(
                f"{packed.path}: lacks {', '.join(missing) or f'scenes of {name!r}'}, expected "
                f"folders {scene_set.folder}/<scene>/ with {POSES_FILE}; it holds: {', '.join(top)}"
                f"{faults}: this is another archive, get the right one"
            )
