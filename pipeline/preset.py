"""Apply a preset: change params.yaml to a set of values that belong together.

    python -m pipeline.preset captures_cpu --captures /path/to/captures && dvc repro

Not a stage. `git diff params.yaml` then shows what changed; comments stay.
"""

import logging
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from gsn.atomic import complete_or_absent
from pipeline.command import DEFAULT_PARAMS, ParamsFile, run_stage

log = logging.getLogger(__name__)
PRESETS = Path(__file__).parent / "presets"


def apply_preset(name: str, params: Path, captures: Path | None = None) -> None:
    """Write the values of a preset into a settings file.

    Args:
        name: File in `pipeline/presets`, without its ending.
        params: Settings file to change.
        captures: Folder of captures in LLFF layout, for `fetch.path`.

    Raises:
        ValueError: There is no such preset, or it sets a key that the settings lack.
    """
    known = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    if name not in known:
        raise ValueError(f"unknown preset {name!r}; known: {', '.join(known)}")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    settings = yaml.load(params)
    _merge(settings, yaml.load(known[name]), name)
    if captures is not None:
        settings["fetch"]["path"] = str(captures)
    with complete_or_absent(params) as partial:
        yaml.dump(settings, partial)
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
) -> None:
    """Change params.yaml to a preset."""
    apply_preset(name, params, captures)


if __name__ == "__main__":
    run_stage(main)
