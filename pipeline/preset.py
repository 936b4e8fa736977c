"""Apply a preset: change params.yaml to a set of values that belong together.

    python -m pipeline.preset captures_cpu --captures /path/to/captures && dvc repro
    python -m pipeline.preset paper && dvc repro

Not a stage. `git diff params.yaml` then shows what changed; comments stay. A preset whose scenes
are of the paper's data writes them out by name: names that neither the program knows nor
archives.lock.yaml are read from the archives, which are downloaded for it.
"""

import logging
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.captures.archives.store import Archives
from gsn.edit_yaml import edited, in_lines
from pipeline.command import DEFAULT_PARAMS, ParamsFile, run_stage
from pipeline.config import load_section
from pipeline.fetch import (
    DEFAULT_ARCHIVES,
    DEFAULT_LOCK,
    ArchivesFolder,
    FetchConfig,
    LockFile,
)

log = logging.getLogger(__name__)
PRESETS = Path(__file__).parent / "presets"
SETS = "sets"  # in a preset, not in params.yaml: sets of scenes for `scenes.train` or `scenes.test`


def apply_preset(
    name: str,
    params: Path,
    captures: Path | None = None,
    archives_folder: Path = DEFAULT_ARCHIVES,
    lock: Path = DEFAULT_LOCK,
) -> None:
    """Write the values of a preset into a settings file.

    Args:
        name: File in `pipeline/presets`, without its ending.
        params: Settings file to change.
        captures: Folder of captures, for `fetch.path`.
        archives_folder: Where archives are downloaded to, or picked up.
        lock: What is known of archives.

    Raises:
        ValueError: There is no such preset, or it sets a key that the settings lack.
        FileNotFoundError: An archive whose scenes have to be known could not be had.
    """
    known = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    if name not in known:
        raise ValueError(f"unknown preset {name!r}; known: {', '.join(known)}")
    changes = YAML().load(known[name])  # lists in one line stay so
    sets: dict[str, list[str]] = changes.pop(SETS, {})
    archives = Archives(archives_folder, lock, load_section(params, "fetch", FetchConfig).archives)
    with logging_redirect_tqdm():
        archives.scenes_of([name for names in sets.values() for name in names])
    with edited(params) as settings:
        _merge(settings, changes, name)
        if captures is not None:
            settings["fetch"]["path"] = str(captures)
        for use, names in sets.items():
            scenes = archives.scenes_of(names)
            settings["scenes"][use] = in_lines(scenes)
            log.info("scenes.%s: %d scenes of %s", use, len(scenes), ", ".join(names))
    log.info("%s: set to preset %r", params, name)


def _merge(settings: MutableMapping[str, Any], changes: Mapping[str, Any], place: str) -> None:
    for key, value in changes.items():
        if key not in settings:
            raise ValueError(f"preset {place}.{key}: params.yaml has no such key")
        if isinstance(value, Mapping):
            _merge(settings[key], value, f"{place}.{key}")
        else:
            settings[key] = value


def main(
    name: Annotated[str, typer.Argument(help="Preset: a file in pipeline/presets.")],
    captures: Annotated[Path | None, typer.Option(help="Folder of captures.")] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    archives: ArchivesFolder = DEFAULT_ARCHIVES,
    lock: LockFile = DEFAULT_LOCK,
) -> None:
    """Change params.yaml to a preset."""
    apply_preset(name, params, captures, archives, lock)


if __name__ == "__main__":
    run_stage(main)
