"""All archives: which one has a scene, what it is made from, and its files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gsn.captures.archives.archive_lock import LockedArchive, add_to_lock, read_lock
from gsn.captures.archives.catalogue import ARCHIVES, SETS, archive_of_known_scene
from gsn.captures.archives.download import Patience
from gsn.captures.archives.listing import is_usable
from gsn.captures.archives.sources import MissingArchiveError, find_archive
from gsn.captures.archives.zip_file import ArchiveError, open_zip
from gsn.lock import hold


@dataclass
class Archives:
    """The archives that are there or can be had.

    What the lock file knows is read at the start, and again before anything is added to it.
    """

    folder: Path  # for downloads; archives got by hand are picked up here
    lock: Path  # the lock file
    sources: Mapping[str, Sequence[str]]  # of each archive, tried in order
    patience: Patience = field(default_factory=Patience)
    _locked: dict[str, LockedArchive] = field(init=False)
    _here: dict[str, Path] = field(init=False, default_factory=dict)  # found right by this process

    def __post_init__(self) -> None:
        self._locked = read_lock(self.lock)

    def archive_of(self, scene: str) -> str | None:
        """Return the archive that has a scene, as far as published names and the lock tell."""
        for name, entry in self._locked.items():
            if entry.folder_of(scene) is not None:
                return name
        return archive_of_known_scene(scene)

    def scenes_of(self, set_names: Sequence[str]) -> list[str]:
        """Return the scenes of sets; archives are brought here whose scenes are not known yet.

        Raises:
            ValueError: There is no such set.
            MissingArchiveError: No source gave an archive; the message names all such.
        """
        if unknown := [name for name in set_names if name not in SETS]:
            raise ValueError(f"unknown sets of scenes {unknown}; known: {', '.join(SETS)}")
        self._bring_unknown(SETS[name].archive for name in set_names if SETS[name].only is None)
        return [scene for name in set_names for scene in self._scenes_of(name)]

    def origins_of(self, scenes: Sequence[str]) -> dict[str, dict[str, object]]:
        """Return what each scene is made from, for its stamp; unknown archives are brought here.

        Raises:
            ArchiveError: No archive has a scene.
            MissingArchiveError: No source gave an archive; the message names all such.
        """
        names = {scene: self.archive_of(scene) for scene in scenes}
        self._bring_unknown(name for name in names.values() if name)
        origins: dict[str, dict[str, object]] = {}
        for scene, name in names.items():
            folder = self._locked[name].folder_of(scene) if name else None
            if name is None or folder is None:
                raise ArchiveError(f"scene {scene!r}: in none of the archives {list(ARCHIVES)}")
            sha256 = self._locked[name].sha256
            origins[scene] = {
                **{"kind": "archive", "archive": name, "sha256": sha256, "folder": folder}
            }
        return origins

    def bring(self, names: Iterable[str]) -> None:
        """Make sure that archives are here.

        Raises:
            MissingArchiveError: No source gave one; the message names all such.
            ArchiveError: One that is here is damaged, or not the one that the lock describes.
            LockedError: Another run is at it.
        """
        wanted = [name for name in dict.fromkeys(names) if name not in self._here]
        if not wanted:
            return
        faults = []
        with hold(self.folder):
            self._locked = read_lock(self.lock)  # another run may have added to it meanwhile
            for name in wanted:
                try:
                    self._find(name)
                except MissingArchiveError as error:
                    faults.append(str(error))
        if faults:
            raise MissingArchiveError("\n".join(faults))

    def unpacked_bytes(self, scenes: Sequence[str]) -> int:
        """Return how much room scenes take; their archives are brought here."""
        folders: dict[str, list[str]] = {}
        for origin in self.origins_of(scenes).values():
            folders.setdefault(str(origin["archive"]), []).append(str(origin["folder"]))
        self.bring(folders)
        n_bytes = 0
        for name, within in folders.items():
            with open_zip(self._here[name]) as packed:
                for folder in within:
                    entries = packed.below(PurePosixPath(folder), is_usable)
                    n_bytes += sum(info.file_size for info in entries.values())
        return n_bytes

    def unpack(self, scene: str, target: Path) -> None:
        """Write what a reader can use of a scene into a new folder; its archive is brought here.

        Raises:
            ArchiveError: The archive is damaged.
        """
        origin = self.origins_of([scene])[scene]
        name = str(origin["archive"])
        self.bring([name])
        with open_zip(self._here[name]) as packed:
            packed.unpack(packed.below(PurePosixPath(str(origin["folder"])), is_usable), target)

    def _find(self, name: str) -> None:
        locked, sources = self._locked.get(name), self.sources.get(name, ())
        path, entry = find_archive(name, self.folder, sources, locked, self.patience)
        if locked is None:
            add_to_lock(self.lock, name, entry)
        self._locked[name], self._here[name] = entry, path

    def _bring_unknown(self, names: Iterable[str]) -> None:
        self.bring([name for name in names if name not in self._locked])

    def _scenes_of(self, set_name: str) -> list[str]:
        known = SETS[set_name].only
        return sorted(known or self._locked[SETS[set_name].archive].sets[set_name])
