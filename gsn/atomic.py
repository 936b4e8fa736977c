"""Files and folders that are either complete or absent, whenever the process is killed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_path(path: Path) -> Path:
    """Where `path` is built before it gets its name."""
    return path.with_name(path.name + ".partial")


def remove(path: Path) -> None:
    """Delete a file or a folder; nothing happens if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
        yield partial
        publish(partial, path)
    except BaseException:
        remove(partial)
        raise


def publish(partial: Path, path: Path) -> None:
    """Give a finished file or folder its name, in place of an older one."""
    if partial.is_dir():
        remove(path)
    else:
        with partial.open("rb") as file:
            os.fsync(file.fileno())
    partial.replace(path)
