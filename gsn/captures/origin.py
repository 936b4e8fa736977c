"""The stamp in a capture folder: what its files were made from, so that they are made only once.

`source.json` holds the origin (kind, settings, code) and the SHA-256 of every other file. Neither
paths of this machine nor times stand in it: equal captures have equal stamps.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from gsn.fingerprint import sha256_of_file

STAMP = "source.json"


def files_below(folder: Path) -> list[Path]:
    """Return all files of a capture folder, sorted, less the stamp and hidden ones."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path != folder / STAMP
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def hash_files(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its path inside `folder`."""
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}


def write_stamp(folder: Path, origin: Mapping[str, object]) -> None:
    """Stamp a finished folder; it must not be stamped yet."""
    stamp = {"origin": origin, "files": hash_files(folder, files_below(folder))}
    with (folder / STAMP).open("x", encoding="utf-8") as file:
        json.dump(stamp, file, indent=1, sort_keys=True)


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
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    found = hash_files(folder, files_below(folder))
    wanted = {"origin": json.loads(json.dumps(origin)), "files": found}
    return bool(stamp == wanted and (files is None or files == found))
