"""Stores that another teacher or other settings made, kept for when these come back.

    <folder of outputs>/.earlier/<output>/<maker>/<scene>.zarr    as it was in <output>
    <folder of outputs>/.earlier/<output>/<maker>/basis.npz       a basis that lay there

`<maker>` is the hash of `made_by`, so that a swap of settings and the swap back compute nothing. It
lies beside the output, not in it, and may be deleted at any time.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from gsn.atomic import naming_below, remove
from gsn.features.store import StoreError, StoreHeader
from gsn.fingerprint import sha256_of_settings

FOLDER = ".earlier"
KEY_LENGTH = 16


class Archive:
    """The earlier stores of one output folder."""

    def __init__(self, out: Path) -> None:
        self.folder = out.parent / FOLDER / out.name

    def place(self, made_by: Mapping[str, object], name: str) -> Path:
        """Where a file or store of this name, made by `made_by`, is kept."""
        return self.folder / sha256_of_settings(made_by)[:KEY_LENGTH] / name

    def set_aside(self, store: Path, name: str, successor: Mapping[str, object]) -> bool:
        """Move a store here if another than the maker of its successor made it.

        Args:
            store: The store, finished or not.
            name: Of the finished store. An unfinished one gives way to what is kept already.
            successor: What makes the store that takes its place.

        Returns:
            Whether it was moved.
        """
        try:
            made_by = StoreHeader.read(store).made_by
        except (FileNotFoundError, StoreError):
            return False
        kept = self.place(made_by, name)
        if kept == self.place(successor, name) or (store.name != name and kept.exists()):
            return False
        self.move(store, kept)
        return True

    def move(self, source: Path, kept: Path) -> None:
        """Move a file or folder to its place here, instead of what is kept there."""
        kept.parent.mkdir(parents=True, exist_ok=True)
        remove(kept)
        with naming_below(source):
            shutil.move(source, kept)  # across file systems too

    def forget(self, made_by: Mapping[str, object], name: str) -> None:
        """Delete what is kept under this name and maker: the output holds it again."""
        kept = self.place(made_by, name)
        remove(kept)
        for folder in (kept.parent, self.folder):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def size_bytes(self) -> int:
        """Sum of the sizes of all files."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
