"""A second name for a file that is never changed: a hard link, or a copy where that cannot be."""

import shutil
import tempfile
from pathlib import Path

from gsn.atomic import partial_path


def link_or_copy(source: Path, target: Path) -> None:
    """Let `target` be the file `source`, or a copy of it; it appears complete."""
    partial = partial_path(target)
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source.resolve())
    except OSError:  # another file system, one without hard links, or a file of somebody else's
        shutil.copyfile(source, partial)
    partial.replace(target)


def hard_links_work(folder: Path) -> bool:
    """Try out whether files in a folder can have a second name."""
    with tempfile.TemporaryDirectory(dir=folder, suffix=".partial") as place:
        file = Path(place) / "file"
        file.touch()
        try:
            file.with_name("link").hardlink_to(file)
        except OSError:
            return False
        return True
