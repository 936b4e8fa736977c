"""Stage `fetch`: bring the captures of all scenes to one place.

in   <fetch.path>/<scene>/      for source `folder`: captures in LLFF layout
out  data/raw/<scene>/          images*/, poses_bounds.npy, masks/, depth/ and the stamp source.json

A scene that is there already, made from the same source, is kept; scenes not asked for are removed.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from typing import Literal

from pydantic.dataclasses import dataclass
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

import gsn.captures.synthetic
from gsn.atomic import complete_or_absent, remove
from gsn.captures.llff import files_in_layout
from gsn.captures.origin import STAMP, hash_files, is_up_to_date, write_stamp
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.fingerprint import sha256_of_code
from pipeline.command import run_stage
from pipeline.config import STRICT, ScenesConfig, load_section

log = logging.getLogger(__name__)
Source = Literal["synthetic", "folder"]
SYNTHETIC_NAME = r"tabletop_\d+"


@dataclass(frozen=True, config=STRICT)
class FetchConfig:
    """Section `fetch` of params.yaml."""

    source: Source
    path: Path  # for `folder`: where the captures lie, one folder a scene
    synthetic: SyntheticConfig  # for `synthetic`, and for tabletop_<n> that a folder lacks


def fetch(out: Path, scenes: list[str], cfg: FetchConfig) -> None:
    """Bring `out` up to date: one folder for each scene, complete or absent.

    Raises:
        ValueError: A capture is missing at the source, or a folder in `out` is not of this stage.
    """
    if cfg.source == "folder":
        _check_source(cfg.path, out, scenes)
    for scene in scenes:
        if (out / scene).exists() and not _is_ours(out / scene):
            raise ValueError(
                f"{out / scene}: this folder has no {STAMP}, so this stage did not make it and "
                f"will not replace it: move it to {cfg.path / scene} and set fetch.source to folder"
            )
    n_made = 0
    with logging_redirect_tqdm():
        for scene in tqdm(scenes, desc="fetch", unit="scene"):
            n_made += BRING[source_of(scene, cfg)](scene, out / scene, cfg)
    n_removed = _remove_all_but(out, scenes)
    kept = len(scenes) - n_made
    log.info("%d scenes made, %d kept, %d removed, in %s", n_made, kept, n_removed, out)


def source_of(scene: str, cfg: FetchConfig) -> Source:
    """Say where a scene comes from.

    With `folder` the scenes of the default run are rendered all the same if the folder lacks them:
    so a capture can be tested with a model that learnt from synthetic ones.
    """
    if cfg.source == "folder" and files_in_layout(cfg.path / scene):
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
    files = files_in_layout(source)
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


# Where scenes come from: (scene, target folder, settings) → whether anything was made.
BRING: dict[str, Callable[[str, Path, FetchConfig], bool]] = {
    "synthetic": _render,
    "folder": _copy,
}


def _check_source(source: Path, out: Path, scenes: list[str]) -> None:
    if not source.is_dir():
        raise ValueError(f"{source}: no such folder; put captures there or change fetch.path")
    if source.resolve().is_relative_to(out.resolve()):
        raise ValueError(
            f"{source}: lies in {out}, which this stage clears of scenes not asked for: keep your "
            "captures elsewhere and change fetch.path"
        )
    asked = [scene for scene in scenes if not re.fullmatch(SYNTHETIC_NAME, scene)]
    missing = [scene for scene in asked if not files_in_layout(source / scene)]
    if missing:
        there = sorted(path.name for path in source.iterdir() if path.is_dir())
        raise ValueError(
            f"{source}: no capture named {', '.join(missing)}; it has: "
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


def main(out: Path, params: Path = Path("params.yaml")) -> None:
    """Command line of the stage."""
    scenes = load_section(params, "scenes", ScenesConfig).all_scenes
    fetch(out, scenes, load_section(params, "fetch", FetchConfig))


if __name__ == "__main__":
    run_stage(main)
