"""Archives of others, read without trusting them: names, kinds and sizes are checked first.

Refused: names that lead out of a folder, links and special files, encrypted entries, an entry that
stands twice, more entries or bytes than any honest archive has, and files that unpack to far more
than they pack. Bytes are counted while they are unpacked; what the headers say is not believed.
"""

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gsn.captures.archives.catalogue import GB

CHUNK_BYTES = 1 << 20
LONGEST_NAME, DEEPEST = 1000, 32  # characters; folders in each other
# A Mac puts these into what it packs.
JUNK = re.compile(r"__MACOSX|Icon\r|\..+", re.DOTALL)


class ArchiveError(ValueError):
    """An archive cannot be used; the message names it, what is wrong and what to do."""


@dataclass(frozen=True)
class Limits:
    """What is unpacked at most."""

    entries: int = 200_000
    unpacked_bytes: int = 100 * GB  # of all entries
    ratio: int = 200  # bytes of a file over those it takes in the archive; photographs have 1
    small_bytes: int = 1 << 20  # of a file that may have any ratio


LIMITS = Limits()
Entries = dict[PurePosixPath, zipfile.ZipInfo]


@dataclass(frozen=True)
class CheckedZip:
    """An open archive whose entries are safe to unpack."""

    path: Path
    entries: Entries  # of files, less junk
    limits: Limits
    _file: zipfile.ZipFile

    def read_head(self, name: PurePosixPath, n_bytes: int) -> bytes:
        """Return the first bytes of an entry.

        Raises:
            ArchiveError: It is damaged.
        """
        with _faults_told(self.path), self._file.open(self.entries[name]) as packed:
            return packed.read(n_bytes)

    def below(self, folder: PurePosixPath, wanted: Callable[[PurePosixPath], bool]) -> Entries:
        """Return the wanted entries of a folder by their path inside it.

        Raises:
            ArchiveError: They could not lie in one folder, or unpack to far more than they pack.
        """
        found = {
            name.relative_to(folder): info
            for name, info in self.entries.items()
            if name.is_relative_to(folder) and name != folder and wanted(name.relative_to(folder))
        }
        self._check_folded(found)
        for name, info in found.items():
            most = max(self.limits.small_bytes, self.limits.ratio * info.compress_size)
            if info.file_size > most:
                raise _refusal(
                    self.path,
                    f"{str(name)!r} unpacks from {info.compress_size} to {info.file_size} bytes, "
                    f"expected at most {self.limits.ratio} times as many",
                )
        return found

    def test(self, show: Callable[[int], object]) -> None:
        """Unpack everything to nowhere, so that every checksum is compared.

        Args:
            show: Called with the size of each file that is whole.

        Raises:
            ArchiveError: A file is damaged.
        """
        with Path(os.devnull).open("wb") as nowhere:
            for info in self.entries.values():
                self._copy(info, nowhere)
                show(info.file_size)

    def unpack(self, entries: Entries, target: Path) -> None:
        """Write entries, as `below` gave them, into a new folder.

        Raises:
            ArchiveError: One is damaged; what was written so far is left for the caller to remove.
        """
        target.mkdir(parents=True)
        for name, info in entries.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                self._copy(info, file)

    def _copy(self, info: zipfile.ZipInfo, file: BinaryIO) -> None:
        n_bytes = 0
        with _faults_told(self.path), self._file.open(info) as packed:
            while chunk := packed.read(CHUNK_BYTES):  # its checksum is compared at the end
                n_bytes += len(chunk)
                if n_bytes > info.file_size:
                    break
                file.write(chunk)
        if n_bytes != info.file_size:
            raise _refusal(
                self.path, f"{info.filename!r} has not the {info.file_size} bytes it announces"
            )

    def _check_folded(self, names: Entries) -> None:
        """Refuse names that are one on a disk that heeds no case, and files used as folders."""
        seen: dict[str, PurePosixPath] = {}
        folders = {parent for name in names for parent in name.parents}
        for name in names:
            other = seen.setdefault(str(name).casefold(), name)
            if other != name or name in folders:
                raise _refusal(
                    self.path, f"{str(other)!r} and {str(name)!r} cannot lie in one folder"
                )


@contextmanager
def open_zip(path: Path, limits: Limits = LIMITS) -> Iterator[CheckedZip]:
    """Open an archive after looking at the name, kind and size of every entry.

    Raises:
        ArchiveError: It is no zip file, is damaged, or has an entry that is not safe.
    """
    with _faults_told(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield CheckedZip(path, _checked(path, archive.infolist(), limits), limits, archive)


def _checked(path: Path, infos: list[zipfile.ZipInfo], limits: Limits) -> Entries:
    if len(infos) > limits.entries:
        raise _refusal(path, f"{len(infos)} entries, expected at most {limits.entries}")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.unpacked_bytes:
        raise _refusal(path, f"{unpacked} bytes unpacked, expected at most {limits.unpacked_bytes}")
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise _refusal(path, "its entries overlap")
    entries: Entries = {}
    for info in infos:
        name = _safe_name(path, info)
        if info.is_dir() or any(JUNK.fullmatch(part) for part in name.parts):
            continue
        if name in entries:
            raise _refusal(path, f"{str(name)!r} stands twice")
        entries[name] = info
    return entries


def _safe_name(path: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    """Return the name of an entry, or refuse the archive for it."""
    raw = info.orig_filename  # before zipfile cuts it at a zero byte
    if len(raw) > LONGEST_NAME or raw.count("/") > DEEPEST:
        raise _refusal(
            path,
            f"entry {raw[:60]!r}...: expected at most {LONGEST_NAME} characters and {DEEPEST} "
            "folders in each other",
        )
    name = PurePosixPath(raw)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        raise _refusal(path, f"entry {raw!r} leads out of the folder it is unpacked in")
    if "\\" in raw or ":" in name.parts[0]:
        raise _refusal(path, f"entry {raw!r}: expected a plain relative path divided by '/'")
    if not raw.replace("\r", "").isprintable() or ("\r" in raw and name.name != "Icon\r"):
        raise _refusal(path, f"entry {raw!r} has control characters in its name")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refusal(path, f"entry {raw!r} is a link or a special file")
    if info.flag_bits & 0x1:
        raise _refusal(path, f"entry {raw!r} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refusal(path, f"entry {raw!r} is packed in an unusual way, expected 'deflated'")
    return name


def _refusal(path: Path, reason: str) -> ArchiveError:
    return ArchiveError(f"{path}: {reason}: delete it and get it from another source")


@contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    """Turn what zipfile and zlib raise for damage into one kind, with the archive's name."""
    try:
        yield
    except FileNotFoundError:
        raise
    except ArchiveError:
        raise
    except (
        *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError),
        *(RuntimeError, ValueError, OverflowError),
    ) as error:
        if isinstance(error, zipfile.BadZipFile) and "not a zip" in str(error):
            raise _refusal(path, "not a zip file, or cut off before its end") from error
        raise _refusal(path, f"damaged ({error})") from error
