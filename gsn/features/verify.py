"""Find every damaged file among feature maps, targets, PCA bases and embedded texts.

A run may write meanwhile: a store or file that was replaced while it was read is looked at again,
and one that is gone is no fault. What is unfinished (`*.partial`) is left to the run that goes on
with it, which checks each map before it is used.
"""

import os
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gsn.atomic import PARTIAL
from gsn.features.archive import FOLDER as EARLIER
from gsn.features.prompts import PROMPTS_FILE
from gsn.features.store import METADATA, FeatureMaps, StoreError, chunk_path
from gsn.features.targets import SHARED_BASIS
from gsn.features.update import SUFFIX
from gsn.seal import SealError, check_seal
from gsn.threads import map_in_threads

N_THREADS = 8
TRIES = 5  # while a store or file is replaced under the reader
PAUSE_S = 0.2
MADE_BY = {"features": "extract", "targets": "reduce"}  # folder -> stage that writes it
OnBytes = Callable[[int], object]  # number of bytes read since the last time


@dataclass(frozen=True)
class Fault:
    """A file that is damaged, missing, or of no use where it lies."""

    path: Path
    what: str
    remedy: str  # a command


@dataclass(frozen=True)
class Inventory:
    """What lies below a folder."""

    stores: list[Path]
    sealed: list[Path]  # bases and prompts
    unfinished: list[Path]
    others: list[Path]  # what does not belong to features

    @property
    def n_bytes(self) -> int:
        """Size of all that is to be read."""
        return sum(map(_size, [*self.stores, *self.sealed]))


def take_inventory(root: Path) -> Inventory:
    """Find all stores and sealed files in a folder and those below it.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: Nothing in it can be verified.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected one of feature maps or targets")
    found = Inventory([], [], [], [])
    todo = [root]
    while todo:
        path = todo.pop()
        if path.suffix == PARTIAL:
            found.unfinished.append(path)
        elif path.suffix == SUFFIX:
            found.stores.append(path)
        elif path == root or (path.is_dir() and not path.is_symlink()):
            with suppress(FileNotFoundError):  # a run has just deleted it
                todo.extend(sorted(path.iterdir(), reverse=True))
        elif path.name == PROMPTS_FILE or path.name.endswith(SHARED_BASIS):
            found.sealed.append(path)
        else:
            found.others.append(path)
    if not found.stores and not found.sealed:
        raise ValueError(
            f"{root}: neither feature maps (*{SUFFIX}) nor bases or prompts below; expected "
            "data/features, data/targets, or a folder in one of them"
        )
    return found


def verify(inventory: Inventory, on_bytes: OnBytes) -> list[Fault]:
    """Read everything once and return what is damaged, in the order of paths."""
    faults: list[Fault] = []
    for store in inventory.stores:
        faults += _settled(store, partial(_faults_of_store, store, on_bytes))
    for path in inventory.sealed:
        faults += _settled(path, partial(_faults_of_file, path, on_bytes))
    return sorted(faults, key=lambda fault: fault.path)


def _settled(path: Path, look: Callable[[], list[Fault]]) -> list[Fault]:
    """Look for faults until what was looked at has not been replaced meanwhile."""
    faults: list[Fault] = []
    for _ in range(TRIES):
        before = _identity(path)
        if before is None:
            return []
        try:
            faults = look()
        except FileNotFoundError as error:
            faults = [_fault(path, f"vanishes while it is read ({error})")]
        if not faults or _identity(path) == before:
            return faults
        time.sleep(PAUSE_S)
    return faults


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Tell a file or folder from the one that takes its place; None if it is not there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _faults_of_store(store: Path, on_bytes: OnBytes) -> list[Fault]:
    """Check metadata, each map, and that there is nothing else."""
    entries = set(store.iterdir())
    try:
        maps = FeatureMaps(store)
    except (StoreError, FileNotFoundError) as error:
        on_bytes(_size(store))
        what = str(error) if isinstance(error, StoreError) else "missing"
        # It says what each map was made of: no map can be used without it.
        return [_fault(store / METADATA, f"{what}: all maps of this store have to be made again")]
    chunks = [chunk_path(store, view) for view in range(len(maps))]
    strays = entries - {*chunks, store / METADATA}
    faults = [_fault(path, "no part of this store", "rm -r --") for path in strays]

    def look(view: int) -> Fault | None:
        try:
            maps.read(view)
        except FileNotFoundError:
            raise
        except (StoreError, OSError) as error:
            return _fault(chunks[view], str(error))
        return None

    for view, fault in enumerate(map_in_threads(range(len(maps)), look, N_THREADS)):
        on_bytes(_size(chunks[view]))
        faults += [] if fault is None else [fault]
    return faults


def _faults_of_file(path: Path, on_bytes: OnBytes) -> list[Fault]:
    try:
        check_seal(path)
    except FileNotFoundError:
        raise
    except (SealError, OSError) as error:
        return [_fault(path, str(error))]
    finally:
        on_bytes(_size(path))
    return []


def _fault(path: Path, what: str, command: str = "") -> Fault:
    """Say what is wrong with a file, and which command mends it."""
    what = what.removeprefix(f"{path}: ")
    if EARLIER in path.parts:  # kept for a swap back only
        store = next((parent for parent in path.parents if parent.suffix == SUFFIX), path)
        return Fault(path, what, f"rm -r -- {shlex.quote(str(store))}")
    if command:
        return Fault(path, what, f"{command} {shlex.quote(str(path))}")
    stages = [MADE_BY[part] for part in path.resolve().parts if part in MADE_BY]
    # Elsewhere it is a copy, and nobody knows of what.
    remedy = f"dvc repro -f -s {stages[-1]}" if stages else "copy it again"
    return Fault(path, what, remedy)


def _size(path: Path) -> int:
    """Size of a file, or of all files in a folder; 0 if it is gone."""
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                return sum(entry.stat().st_size for entry in entries)
        return path.stat().st_size
    except FileNotFoundError:
        return 0
