"""Files and folders that are either complete or absent, whenever the process is killed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


def partial_path(path: Path) -> Path:
    """Where `path` is built before it gets its name."""
    return path.with_name(path.name + PARTIAL)


def remove(path: Path) -> None:
    """Delete a file or a folder; nothing happens if there is none.

    A folder loses its name first: a kill leaves no half-deleted one that looks finished.
    """
    if path.suffix != PARTIAL:
        remove(_aside(path))  # left by a kill
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        folder = path if path.suffix == PARTIAL else path.rename(_aside(path))
        with naming_below(folder):
            shutil.rmtree(folder)


def _aside(path: Path) -> Path:
    """Where an older folder goes that is to be deleted: no reader takes it for finished."""
    return partial_path(path.with_name(path.name + ".old"))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of writing an open file, as of a full disk, say which file."""
    try:
        yield
    except OSError as error:
        if error.errno is None and type(error) is OSError:  # of numpy: "9 requested, 5 written"
            raise OSError(f"{path}: {error}; is the disk full?") from error
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def naming_below(folder: Path) -> Iterator[None]:
    """Let an error of shutil say where a file is: it names the last part of its path only."""
    try:
        yield
    except OSError as error:
        error.filename = f"{folder}/.../{error.filename}"
        raise


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield `<path>.partial` to write a file or fill a folder; it becomes `path` at the end.

    On an exception the partial file is deleted and an older `path` stays as it was. After a kill
    only the partial one can be left over, which no reader takes for finished.
    """
    partial = partial_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(partial)
    try:
        with naming(partial):
            yield partial
            publish(partial, path)
    except BaseException:
        remove(partial)
        raise


def publish(partial: Path, path: Path) -> None:
    """Give a finished file or folder its name, in place of an older one."""
    if not partial.is_dir():
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    else:
        aside = _aside(path)
        remove(aside)
        if os.path.lexists(path):
            path.rename(aside)  # deleted last: a reader misses the folder for a moment only
        partial.replace(path)
        remove(aside)
