"""The lock file: size, SHA-256 and scenes of each archive as it first came in.

Nobody published hashes. So the first archive that is whole and holds the right scenes is the one
that counts from then on, on every machine, for the file is kept in git.
"""

from dataclasses import asdict
from pathlib import Path

import yaml
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from gsn.atomic import complete_or_absent
from gsn.captures.archives.catalogue import ARCHIVES, sets_of
from gsn.strict_yaml import parse_yaml, validate

HEAD = """\
# Archives of the paper's data as they first came in. `fetch` and `pipeline.preset` add what they
# meet for the first time, and stop at an archive that is not the one described here.
"""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class LockedArchive:
    """What is known of an archive."""

    bytes: int
    sha256: str
    sets: dict[str, dict[str, str]]  # set → scene → folder in the archive
    left_out: dict[str, str]  # folder → why no reader can use it

    def folder_of(self, scene: str) -> str | None:
        """Return the folder of a scene in the archive."""
        return next((scenes[scene] for scenes in self.sets.values() if scene in scenes), None)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class _Content:
    archives: dict[str, LockedArchive]


def read_lock(path: Path) -> dict[str, LockedArchive]:
    """Return what the lock file knows, by name of the archive; nothing if there is no such file.

    Raises:
        ValueError: It cannot be read or is not what `write_lock` writes.
    """
    try:
        content = parse_yaml(path.read_bytes())
        locked = validate(content, _Content).archives
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path}: {error}: take it from git, or delete it") from error
    for name, entry in locked.items():
        if name not in ARCHIVES or set(entry.sets) != set(sets_of(name)):
            raise ValueError(
                f"{path}: archive {name!r} with sets {sorted(entry.sets)}, expected one of "
                f"{sorted(ARCHIVES)} with its sets: take the file from git, or delete it"
            )
    return locked


def add_to_lock(path: Path, name: str, entry: LockedArchive) -> None:
    """Write an archive into the lock file beside those it has."""
    locked = read_lock(path) | {name: entry}
    content = {"archives": {key: asdict(value) for key, value in locked.items()}}
    text = yaml.safe_dump(content, sort_keys=True, allow_unicode=True, width=100)
    with complete_or_absent(path) as partial:
        partial.write_text(HEAD + text, encoding="utf-8")
