"""One archive on this machine: the file that is there, else what the first able source gives.

An archive counts only once it is whole, safe, holds the right scenes and is the one that the lock
file describes. Until then a download lies under a name of its source.
"""

import hashlib
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from gsn.atomic import publish, remove
from gsn.captures.archives.archive_lock import LockedArchive
from gsn.captures.archives.catalogue import ARCHIVES, GB
from gsn.captures.archives.download import (
    DRIVE,
    Patience,
    SourceError,
    download,
    page_in_place,
)
from gsn.captures.archives.listing import is_usable, list_scenes
from gsn.captures.archives.zip_file import ArchiveError, open_zip
from gsn.fingerprint import sha256_of_file

log = logging.getLogger(__name__)
WEB = ("http://", "https://", DRIVE)


class MissingArchiveError(FileNotFoundError):
    """No source gave an archive; the message says what to get by hand and where to put it."""


def find_archive(
    name: str,
    folder: Path,
    sources: Sequence[str],
    locked: LockedArchive | None,
    patience: Patience,
) -> tuple[Path, LockedArchive]:
    """Return an archive that is right, and what is known of it.

    Args:
        name: In the catalogue.
        folder: Where `<name>.zip` lies or is downloaded to.
        sources: `drive:<id>`, addresses, and files or folders of this machine, tried in order.
        locked: What the archive must be, if that is known.
        patience: With servers.

    Raises:
        ArchiveError: The file in `folder` is damaged, or not the one that the lock describes.
        MissingArchiveError: There is none, and no source gave it.
    """
    here = folder / f"{name}.zip"
    if here.is_file():
        log.info("%s: is there; looking whether it is whole", here)
        return here, check_archive(here, name, locked)
    faults = []
    for source in sources:
        try:
            if source.startswith(WEB):
                return here, _download_checked(source, here, name, locked, patience)
            path = _local_file(source, name)
            return path, check_archive(path, name, locked)
        except (SourceError, ArchiveError) as error:
            log.warning("%s.zip: %s gave no archive: %s", name, source, error)
            faults.append(f"{source}: {error}")
    raise MissingArchiveError(
        f"{here.name} (about {ARCHIVES[name] / GB:.1f} GB) is not in {folder}/ and no source gave "
        f"it ({'; '.join(faults) or 'none is named'}): download it by hand"
        f"{_addresses(sources)} and put it there under this name, or add a source"
    )


def check_archive(path: Path, name: str, locked: LockedArchive | None) -> LockedArchive:
    """Compare an archive with the lock; without one, see that it is whole and has its scenes.

    Raises:
        ArchiveError: It is damaged, unsafe, or another one.
    """
    if reason := page_in_place(path):
        raise ArchiveError(f"{path}: {reason}: delete it")
    if locked is not None:
        n_bytes = path.stat().st_size
        sha256 = sha256_of_file(path) if n_bytes == locked.bytes else "not looked at"
        if sha256 != locked.sha256:
            raise ArchiveError(
                f"{path}: {n_bytes} bytes, SHA-256 {sha256}; expected {locked.bytes} bytes, "
                f"{locked.sha256} as the lock file has it: the file is damaged or another edition: "
                f"delete it and get it again, or, to use this one, delete {name!r} in the lock file"
            )
        return locked
    with open_zip(path) as packed:
        listing = list_scenes(name, packed)
        for scenes in listing.sets.values():
            for folder in scenes.values():
                packed.below(PurePosixPath(folder), is_usable)  # before it counts as right
        total = sum(info.file_size for info in packed.entries.values())
        with tqdm(desc=f"check {name}", total=total, unit="B", unit_scale=True, leave=False) as bar:
            packed.test(bar.update)
    for left_out, reason in listing.left_out.items():
        log.warning("%s: scene %s is left out: %s", path, left_out, reason)
    return LockedArchive(path.stat().st_size, sha256_of_file(path), **asdict(listing))


def _download_checked(
    source: str, here: Path, name: str, locked: LockedArchive | None, patience: Patience
) -> LockedArchive:
    """Download an archive and give it its name once it is found right."""
    # Bytes of two sources must never meet in one file.
    target = here.with_name(f"{here.name}.{hashlib.sha256(source.encode()).hexdigest()[:8]}")
    here.parent.mkdir(parents=True, exist_ok=True)
    _check_room(here, name, source)
    while True:
        resumed = download(source, target, patience)
        try:
            entry = check_archive(target, name, locked)
        except ArchiveError as error:
            remove(target)
            if not resumed:
                raise
            log.warning("%s: made of two downloads that do not fit (%s): again", here, error)
            continue
        publish(target, here)
        for left in here.parent.iterdir():  # of other sources, finished or not
            if re.fullmatch(re.escape(here.name) + r"\.[0-9a-f]{8}(.{8}\.part)?", left.name):
                remove(left)
        return entry


def _check_room(here: Path, name: str, source: str) -> None:
    free = shutil.disk_usage(here.parent).free
    log.info(
        "%s: about %.1f GB from %s; %.1f GB are free",
        *(here, ARCHIVES[name] / GB, source, free / GB),
    )


def _local_file(source: str, name: str) -> Path:
    path = Path(source).expanduser()
    path = path / f"{name}.zip" if path.is_dir() else path
    if not path.is_file():
        raise SourceError("no such file on this machine")
    return path


def _addresses(sources: Sequence[str]) -> str:
    """Return where a person finds the file with a browser."""
    shown = [
        f"https://drive.google.com/file/d/{source.removeprefix(DRIVE)}/view"
        if source.startswith(DRIVE)
        else source
        for source in sources
        if source.startswith(WEB)
    ]
    return f" from {' or '.join(shown)}" if shown else ""
