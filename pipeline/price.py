"""What `extract` is going to write, told before it begins, and refused where it does not fit."""

import logging
from pathlib import Path

from gsn.features.archive import Archive
from gsn.features.links import hard_links_work
from gsn.features.price import GB, check_room, existing_parent, free_bytes
from gsn.features.update import StoreUpdate

log = logging.getLogger(__name__)
REMEDY = (
    "free space, set `extract.keep_raw: false` or lower `extract.kept_dims`, or choose another "
    "layer of the teacher"
)


def tell_price(updates: list[StoreUpdate], out: Path) -> tuple[int, int]:
    """Say what the run will write, refuse if it has no room; return maps to make and to reuse."""
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
    check_space(out, n_bytes)
    return n_missing, n_reused


def check_space(out: Path, n_bytes: int) -> None:
    """Refuse what does not fit, and tell what earlier maps take."""
    archive = Archive(out)
    remedy = REMEDY
    if earlier := archive.size_bytes():
        kept = f"{archive.folder} keeps {earlier / GB:.3f} GB of maps made with other settings"
        log.info("%s; it may be deleted at any time", kept)
        remedy += f"; {kept} and may be deleted"
    check_room(out, n_bytes, remedy)
