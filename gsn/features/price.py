"""What a stage is going to write, against what the disk has left."""

import logging
import shutil
from pathlib import Path

log = logging.getLogger(__name__)
SLACK = 1.01  # for metadata and what the file system keeps for itself
GB = 1e9


class DiskSpaceError(OSError):
    """The output does not fit the disk; the message says what is needed and what is free."""


def existing_parent(path: Path) -> Path:
    """Return the path itself, or the nearest folder above it that exists."""
    return path if path.exists() else existing_parent(path.absolute().parent)


def free_bytes(path: Path) -> int:
    """Bytes free on the disk where `path` is, or will be."""
    return shutil.disk_usage(existing_parent(path)).free


def check_room(path: Path, n_bytes: int, remedy: str) -> None:
    """Refuse to write more than the disk has room for.

    Args:
        path: Where it will be written.
        n_bytes: How much.
        remedy: What the user can do about it.

    Raises:
        DiskSpaceError: It does not fit, with one per cent to spare.
    """
    free = free_bytes(path)
    if n_bytes and n_bytes * SLACK > free:
        raise DiskSpaceError(
            f"{path}: {n_bytes * SLACK / GB:.3f} GB are needed here and {free / GB:.3f} GB are "
            f"free; {remedy}"
        )
