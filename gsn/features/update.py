"""Bring a store up to date: keep the maps that are still right, take in the missing ones, publish.

The new store is built beside the old one and takes its place when complete. Its metadata, with
the fingerprints of all views, is there from the start: a run that is killed leaves its finished
maps to the next. A map that is reused costs no disk where the file system has hard links.
"""

import logging
import threading
from collections.abc import Collection
from pathlib import Path

from gsn.atomic import complete_or_absent, partial_path, publish, remove
from gsn.features.archive import Archive
from gsn.features.links import link_or_copy
from gsn.features.store import (
    METADATA,
    FeatureMaps,
    HalfArray,
    MapWriter,
    StoreError,
    StoreHeader,
    chunk_path,
)

log = logging.getLogger(__name__)
SUFFIX = ".zarr"


def store_path(folder: Path, scene: str) -> Path:
    """Where the store of a scene lies in the folder of all."""
    return folder / f"{scene}{SUFFIX}"


class StoreUpdate:
    """The way of one store to what `header` asks for; planning alone changes nothing on disk.

    Attributes:
        missing: Views whose map has to be computed and handed to `write`.
        is_current: Whether the store already is what `header` asks for, byte for byte.
    """

    def __init__(self, path: Path, header: StoreHeader, archive: Archive | None = None) -> None:
        """Find out what can be reused: every map is read, and one that is damaged is not.

        Args:
            path: Of the finished store.
            header: What it shall hold.
            archive: Where a store of another maker is moved to, and looked for; None: it is
                deleted.
        """
        self.path = path
        self.header = header
        self._archive = archive
        self._kept = None if archive is None else archive.place(header.made_by, path.name)
        self._partial = partial_path(path)
        # A partial store with another header, while its maps are taken over.
        self._old = path.with_name(path.name + ".old.partial")
        self._document = header.document()
        self._found = self._find()  # view -> file of its map
        views = range(len(header.view_names))
        self.missing = tuple(view for view in views if view not in self._found)
        own = {view: chunk_path(path, view) for view in views}
        self.is_current = _holds(path, self._document) and self._found == own
        self._lock = threading.Lock()
        self._writer: MapWriter | None = None
        self._n_left = len(self.missing)

    @property
    def n_reused(self) -> int:
        """Number of maps that need not be computed."""
        return len(self._found)

    @property
    def n_taken_over(self) -> int:
        """Number of files that `begin` links or, where there are no hard links, copies."""
        if self.is_current:
            return 0
        resumed = _holds(self._partial, self._document)
        return sum(not resumed or file.parent != self._partial for file in self._found.values())

    def begin(self) -> None:
        """Start the new store with the maps that are reused, or go on with one left by a kill."""
        sources = self._found
        if not _holds(self._partial, self._document):
            if self._partial.exists() and not self._set_aside(self._partial):
                remove(self._old)
                self._partial.replace(self._old)
            sources = {
                view: self._old / file.name if file.parent == self._partial else file
                for view, file in sources.items()
            }
            self._partial.mkdir(parents=True)
            with complete_or_absent(self._partial / METADATA) as new:
                new.write_bytes(self._document)
        for view, source in sources.items():
            target = chunk_path(self._partial, view)
            if source != target:
                link_or_copy(source, target)
        self._writer = MapWriter(self._partial)

    def write(self, view: int, values: HalfArray) -> None:
        """Take in the map (h, w, C) of a missing view, after `begin`; from any thread."""
        assert self._writer is not None, "begin() comes first"
        self._writer.write(view, values)

    def take(self, view: int, values: HalfArray) -> None:
        """Take in a map from any thread; the first begins the store, the last one publishes it."""
        with self._lock:
            if self._writer is None:
                self.begin()
        self.write(view, values)
        with self._lock:
            self._n_left -= 1
            if self._n_left == 0:
                self.finish()

    def finish(self) -> None:
        """Let the new store take the place of the old one.

        Raises:
            StoreError: A map has not been written.
        """
        files = {chunk_path(self._partial, view) for view in range(len(self.header.view_names))}
        lacking = sorted(file.name for file in files if not file.is_file())
        if lacking:
            raise StoreError(f"{self._partial}: {len(lacking)} maps not written: {lacking[:3]}")
        for file in self._partial.iterdir():  # a kill may have left half-written files
            if file not in files and file.name != METADATA:
                remove(file)
        self._set_aside(self.path)
        publish(self._partial, self.path)
        remove(self._old)
        if self._archive is not None:
            self._archive.forget(self.header.made_by, self.path.name)

    def _set_aside(self, store: Path) -> bool:
        """Keep a store that another maker made, if there is an archive; return whether it is."""
        archive, made_by = self._archive, self.header.made_by
        return archive is not None and archive.set_aside(store, self.path.name, made_by)

    def _find(self) -> dict[int, Path]:
        """Find a good map for each view: first where it need not even be copied."""
        folders = [self.path, self._partial, self._old]
        if _holds(self._partial, self._document):
            folders = [self._partial, self.path, self._old]
        elif self._partial.exists():
            folders.remove(self._old)  # to be overwritten by the partial store
        folders += [] if self._kept is None else [self._kept]
        found: dict[int, Path] = {}
        for folder in folders:
            maps = self._open(folder)
            for view, fingerprint in enumerate(self.header.fingerprints):
                if maps is not None and view not in found:
                    file = self._good_map(maps, view, fingerprint)
                    found |= {} if file is None else {view: file}
        return found

    def _open(self, folder: Path) -> FeatureMaps | None:
        try:
            maps = FeatureMaps(folder)
        except FileNotFoundError:
            return None
        except StoreError as error:
            log.warning("%s; its maps are not reused", error)
            return None
        return maps if maps.header.map_shape == self.header.map_shape else None

    def _good_map(self, maps: FeatureMaps, view: int, fingerprint: str) -> Path | None:
        same = [k for k, other in enumerate(maps.header.fingerprints) if other == fingerprint]
        for candidate in sorted(same, key=lambda k: k != view):
            file = chunk_path(maps.path, candidate)
            if maps.path != self.path and not file.is_file():
                continue  # a partial store is expected to lack maps
            try:
                maps.read(candidate)
            except StoreError as error:
                log.warning("%s; it is not reused", error)
                continue
            return file
        return None


def drop_all_but(folder: Path, scenes: Collection[str], archive: Archive | None = None) -> int:
    """Delete the stores of other scenes and all that is unfinished; return the number of stores.

    What is unfinished, but of one of these scenes and of another maker, goes to the archive.
    """
    kept = {store_path(folder, scene) for scene in scenes}
    n_dropped = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix in (SUFFIX, ".partial") and path not in kept:
            finished = path.with_suffix("")
            if archive is not None and finished in kept:
                archive.set_aside(path, finished.name, StoreHeader.read(finished).made_by)
            remove(path)
            n_dropped += path.suffix == SUFFIX
    return n_dropped


def _holds(folder: Path, document: bytes) -> bool:
    path = folder / METADATA
    return path.is_file() and path.read_bytes() == document
