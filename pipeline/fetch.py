"""Stage `fetch`: bring the captures of all scenes to one place.

in   <fetch.path>/<scene>/      for source `folder`: captures in any format that is read
     data/archives/<name>.zip   for source `archives`: downloaded if it is not there
     archives.lock.yaml         what each archive is, once it was seen; written if it was not
out  data/raw/<scene>/          photographs, cameras, masks/, depth/ and the stamp source.json

A scene that is there already, made from the same source, is kept; scenes not asked for are removed.
"""

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from typing import Annotated, Literal

import typer
from pydantic.dataclasses import dataclass
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

import gsn.captures.synthetic
from gsn.atomic import complete_or_absent, remove
from gsn.captures.archives.catalogue import ARCHIVES, GB
from gsn.captures.archives.store import Archives
from gsn.captures.origin import STAMP, hash_files, is_up_to_date, write_stamp
from gsn.captures.readers.formats import files_of_capture
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.fingerprint import sha256_of_code
from pipeline.command import run_stage
from pipeline.config import STRICT, ScenesConfig, load_section

log = logging.getLogger(__name__)
Source = Literal["synthetic", "folder", "archives"]
SYNTHETIC_NAME = r"tabletop_\d+"
ArchivesFolder = Annotated[Path, typer.Option(help="Folder of downloaded archives.")]
LockFile = Annotated[Path, typer.Option(help="File that says what each archive is.")]
DEFAULT_ARCHIVES, DEFAULT_LOCK = Path("data/archives"), Path("archives.lock.yaml")


@dataclass(frozen=True, config=STRICT)
class FetchConfig:
    """Section `fetch` of params.yaml."""

    source: Source
    path: Path  # for `folder`: where the captures lie, one folder a scene
    # For `archives`: where each is looked for, in this order: drive:<id>, a web address, or a file
    # or folder of this machine.
    archives: dict[str, list[str]]
    synthetic: SyntheticConfig  # for `synthetic`, and for tabletop_<n> that a folder lacks

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.archives) - set(ARCHIVES)):
            raise ValueError(f"'archives' has {unknown}; known: {', '.join(ARCHIVES)}")


def fetch(
    out: Path,
    scenes: list[str],
    cfg: FetchConfig,
    archives_folder: Path = DEFAULT_ARCHIVES,
    lock: Path = DEFAULT_LOCK,
) -> None:
    """Bring `out` up to date: one folder for each scene, complete or absent.

    Raises:
        ValueError: A capture is missing at the source, an archive is not as it should be, or a
            folder in `out` is not of this stage.
        FileNotFoundError: No source gave an archive.
    """
    archives = Archives(archives_folder, lock, cfg.archives)
    sources = {scene: source_of(scene, cfg, archives) for scene in scenes}
    if "folder" in sources.values():
        _check_source(cfg, out, [scene for scene in scenes if sources[scene] == "folder"])
    for scene in scenes:
        if (out / scene).exists() and not _is_ours(out / scene):
            raise ValueError(
                f"{out / scene}: this folder has no {STAMP}, so this stage did not make it and "
                f"will not replace it: move it to {cfg.path / scene} and set fetch.source to folder"
            )
    packed = [scene for scene in scenes if sources[scene] == "archives"]
    n_made = 0
    with logging_redirect_tqdm():
        origins = archives.origins_of(packed)
        _check_room(out, [scene for scene in packed if not (out / scene).exists()], archives)
        for scene in tqdm(scenes, desc="fetch", unit="scene"):
            if sources[scene] == "archives":
                n_made += _unpack(scene, out / scene, origins[scene], archives)
            elif sources[scene] == "folder":
                n_made += _copy(scene, out / scene, cfg)
            else:
                n_made += _render(scene, out / scene, cfg)
    n_removed = _remove_all_but(out, scenes)
    kept = len(scenes) - n_made
    log.info("%d scenes made, %d kept, %d removed, in %s", n_made, kept, n_removed, out)


def source_of(scene: str, cfg: FetchConfig, archives: Archives) -> Source:
    """Say where a scene comes from.

    With `archives`, other scenes may lie in the folder. With both, the scenes of the default run
    are rendered all the same if the folder lacks them: so a capture can be tested with a model that
    learnt from synthetic ones.
    """
    if cfg.source == "archives" and archives.archive_of(scene):
        return "archives"
    if cfg.source != "synthetic" and files_of_capture(cfg.path / scene):
        return "folder"
    if cfg.source == "synthetic" or re.fullmatch(SYNTHETIC_NAME, scene):
        return "synthetic"
    return "folder"


def _render(scene: str, target: Path, cfg: FetchConfig) -> bool:
    """Synthesise a scene; False if it is there already."""
    # Here, for it needs torch, which takes seconds to import and copying needs none of.
    from gsn.captures.synthetic.write import write_synthetic_capture

    origin = {
        "kind": "synthetic",
        "settings": asdict(cfg.synthetic),
        "code": sha256_of_code(gsn.captures.synthetic),
    }
    if is_up_to_date(target, origin):
        return False
    with complete_or_absent(target) as partial:
        write_synthetic_capture(partial, scene, cfg.synthetic)
        write_stamp(partial, origin)
    return True


def _copy(scene: str, target: Path, cfg: FetchConfig) -> bool:
    """Copy what a reader can use; False if nothing has changed since."""
    source = cfg.path / scene
    files = files_of_capture(source)
    origin: Mapping[str, object] = {"kind": "folder"}
    if is_up_to_date(target, origin, hash_files(source, files)):
        return False
    with complete_or_absent(target) as partial:
        for path in files:
            copy = partial / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copyfile(path, copy)
        write_stamp(partial, origin)
    return True


def _unpack(scene: str, target: Path, origin: Mapping[str, object], archives: Archives) -> bool:
    """Unpack what a reader can use; False if it is there already."""
    if is_up_to_date(target, origin):
        return False
    with complete_or_absent(target) as partial:
        archives.unpack(scene, partial)
        write_stamp(partial, origin)
    return True


def _check_room(out: Path, scenes: list[str], archives: Archives) -> None:
    """Bring the archives of new scenes here, and stop before the disk is full of half of them."""
    if not scenes:
        return
    needed = archives.unpacked_bytes(scenes)
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    log.info("%d scenes to unpack: %.1f GB, %.1f GB free", len(scenes), needed / GB, free / GB)
    if needed > free:
        raise OSError(
            f"{out}: {len(scenes)} scenes take {needed / GB:.1f} GB unpacked, {free / GB:.1f} GB "
            "are free: make room, or name fewer in the section 'scenes'"
        )


def _check_source(cfg: FetchConfig, out: Path, scenes: list[str]) -> None:
    """Look whether the folder has the scenes that should come from there."""
    source = cfg.path
    if not source.is_dir():
        raise ValueError(f"{source}: no such folder; put captures there or change fetch.path")
    if source.resolve().is_relative_to(out.resolve()):
        raise ValueError(
            f"{source}: lies in {out}, which this stage clears of scenes not asked for: keep your "
            "captures elsewhere and change fetch.path"
        )
    missing = [scene for scene in scenes if not files_of_capture(source / scene)]
    if missing:
        there = sorted(path.name for path in source.iterdir() if path.is_dir())
        nor = " (nor is one known from archives)" if cfg.source == "archives" else ""
        raise ValueError(
            f"{source}: no capture named {', '.join(missing)}{nor}; it has: "
            f"{', '.join(there) or 'none'}; add them or change the section 'scenes'"
        )


def _is_ours(folder: Path) -> bool:
    return (folder / STAMP).is_file() or folder.name.endswith(".partial")


def _remove_all_but(out: Path, scenes: list[str]) -> int:
    unlisted = [path for path in out.iterdir() if path.is_dir() and path.name not in scenes]
    ours = [path for path in unlisted if _is_ours(path)]
    for path in ours:
        remove(path)
    if len(ours) < len(unlisted):
        left = sorted(path.name for path in set(unlisted) - set(ours))
        log.warning("%s: left alone, as this stage did not make them: %s", out, ", ".join(left))
    return len(ours)


def main(
    out: Path,
    params: Path = Path("params.yaml"),
    archives: ArchivesFolder = DEFAULT_ARCHIVES,
    lock: LockFile = DEFAULT_LOCK,
) -> None:
    """Command line of the stage."""
    scenes = load_section(params, "scenes", ScenesConfig).all_scenes
    fetch(out, scenes, load_section(params, "fetch", FetchConfig), archives, lock)


if __name__ == "__main__":
    run_stage(main)
