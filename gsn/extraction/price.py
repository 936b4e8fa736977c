"""What a run is going to write, told before it begins, and refused where it does not fit."""

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from gsn.captures.survey import PackSurvey
from gsn.features.archive import Archive
from gsn.features.links import hard_links_work
from gsn.features.update import StoreUpdate
from gsn.teachers.teacher import Teacher

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


def tell_price(updates: Collection[StoreUpdate], out: Path) -> tuple[int, int]:
    """Say what bringing these stores up to date will write; return maps to make and to reuse.

    Raises:
        DiskSpaceError: It does not fit.
    """
    n_missing = sum(len(update.missing) for update in updates)
    n_reused = sum(update.n_reused for update in updates)
    n_bytes = sum(len(update.missing) * update.header.map_bytes for update in updates)
    n_copied = sum(update.n_taken_over * update.header.map_bytes for update in updates)
    if n_copied and not hard_links_work(existing_parent(out)):
        n_bytes += n_copied
    log.info(
        "%d maps to make, %d to reuse: %.3f GB to write, %.3f GB free",
        *(n_missing, n_reused, n_bytes / GB, free_bytes(out) / GB),
    )
    check_room(out, n_bytes)
    return n_missing, n_reused


def tell_price_of_all(
    surveys: list[PackSurvey], out: Path, teacher: Teacher, dims: int, n_fit: int
) -> None:
    """Say what fitting a basis on `n_fit` views, then keeping coefficients of all, will write.

    Raises:
        DiskSpaceError: It does not fit.
    """
    sizes = [(*teacher.grid_size(*s.image_size), len(s.view_names)) for s in surveys]
    n_bytes = 2 * dims * sum(rows * columns * n for rows, columns, n in sizes)
    log.info("%d views to fit a basis on, then %.3f GB to write", n_fit, n_bytes / GB)
    check_room(out, n_bytes)


def check_room(out: Path, n_bytes: int) -> None:
    """Refuse to write more than the disk has room for, and tell what earlier maps take.

    Raises:
        DiskSpaceError: It does not fit, with one per cent to spare.
    """
    archive = Archive(out)
    earlier = ""
    if kept_gb := archive.size_bytes() / GB:
        kept = f"{archive.folder} keeps {kept_gb:.3f} GB of maps made with other settings"
        log.info("%s; it may be deleted at any time", kept)
        earlier = f"; {kept} and may be deleted"
    free = free_bytes(out)
    if n_bytes and n_bytes * SLACK > free:
        raise DiskSpaceError(
            f"{out}: {n_bytes * SLACK / GB:.3f} GB are needed here and {free / GB:.3f} GB are "
            f"free{earlier}"
        )
