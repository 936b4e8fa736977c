"""The stamp in a capture folder: what its files were made from, so that they are made only once.

`source.json` holds the origin (kind, settings, code) and the SHA-256 of every other file. Neither
paths of this machine nor times stand in it: equal captures have equal stamps, to the byte.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gsn.fingerprint import sha256_of_file

STAMP = "source.json"


class OriginError(ValueError):
    """A capture is not as it was stamped; the message names the file."""


def files_below(folder: Path) -> list[Path]:
    """Return all files of a capture folder, sorted, less the stamp and hidden ones.

    Links to folders are followed, as `images` may be one, but not back to where the way came from.
    """
    return sorted(path for path in _walk(folder, ()) if path != folder / STAMP)


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above or not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, (*above, real))
        elif path.is_file():
            yield path


def hash_files(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its path inside `folder`."""
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}


def write_stamp(folder: Path, origin: Mapping[str, object]) -> None:
    """Stamp a finished folder; it must not be stamped yet."""
    stamp = _document(origin, hash_files(folder, files_below(folder)))
    with (folder / STAMP).open("xb") as file:
        file.write(stamp)


def is_up_to_date(
    folder: Path, origin: Mapping[str, object], files: Mapping[str, str] | None = None
) -> bool:
    """Whether the folder was made from this origin and is still as it was stamped.

    Args:
        folder: May be missing.
        origin: Plain values, as given to `write_stamp`.
        files: Hashes that its files must have, where they are known beforehand.
    """
    try:
        stamp = (folder / STAMP).read_bytes()
    except OSError:
        return False
    found = hash_files(folder, files_below(folder))
    return stamp == _document(origin, found) and (files is None or files == found)


def check_unchanged(folder: Path, part: str = "") -> None:
    """Make sure that the files of a capture are those that its stamp names, if it has one.

    Args:
        folder: Of the capture.
        part: Folder inside it to look at; all of it by default. Files that were added are let be.

    Raises:
        OriginError: The stamp or a file is damaged, or a file is missing.
    """
    path = folder / STAMP
    if not path.is_file():
        return
    try:
        files: dict[str, str] = json.loads(path.read_bytes())["files"]
        stamped = {name: sha for name, sha in files.items() if Path(part) in Path(name).parents}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OriginError(f"{path}: damaged: not a stamp ({error!r})") from error
    for name, sha256 in stamped.items():
        file = folder / name
        if not file.is_file():
            raise OriginError(f"{file}: missing, but {path} names it")
        if sha256_of_file(file) != sha256:
            raise OriginError(f"{file}: damaged, or {path} is: its SHA-256 differs from the stamp")


def _document(origin: Mapping[str, object], files: Mapping[str, str]) -> bytes:
    return json.dumps({"origin": origin, "files": files}, indent=1, sort_keys=True).encode()
