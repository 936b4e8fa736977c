"""A tiny project that runs all stages in seconds, and what dvc.yaml says of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TEACHER = "clip-demo"  # reads texts, so that there is a file of prompts
SPLIT = "unseen"  # of the two evaluations
OWN = "own scene"  # a capture that is copied; the others are rendered
OWN_CAPTURES = Path("captures")
PARAMS = "params.yaml"
CHANGES: dict[str, object] = {
    "scenes.train": ["tabletop_0", OWN],
    "scenes.test": ["tabletop_1"],
    "teacher.name": TEACHER,
    "teacher.long_side_px": None,
    "teacher.prompts": ["the background", "a table and a wall", "a red wooden vase"],
    "fetch.source": "folder",
    "fetch.path": OWN_CAPTURES.as_posix(),
    "fetch.synthetic.n_views": 5,
    "fetch.synthetic.width_px": 48,
    "fetch.synthetic.height_px": 36,
    "fetch.synthetic.min_objects": 1,
    "fetch.synthetic.max_objects": 1,
    "fetch.synthetic.samples_per_side": 1,
    "prepare.long_side_px": 48,
    "prepare.hold": 4,
    "extract.keep_raw": False,
    "extract.kept_dims": 12,
    "reduce.dims": 6,
    "pretrain.model.encoder_width": 4,
    "pretrain.model.encoder_channels": 8,
    "pretrain.model.width": 16,
    "pretrain.model.heads": 2,
    "pretrain.model.samples": 8,
    "evaluate.source_views": 3,
    "evaluate.pixel_stride": 2,
    "evaluate.max_views_per_scene.unseen": 1,
    "evaluate.lpips": False,
    "evaluate.segmentation.n_clusters": 2,
    "evaluate.strokes.seeds": [0],
    "evaluate.orbit.frames.unseen": 2,
}
for _name in ("pretrain", "distill"):
    CHANGES |= {
        f"{_name}.training.max_steps": 6,
        f"{_name}.training.log_every": 1,
        f"{_name}.training.checkpoint_every": 2,
        f"{_name}.training.batch.rays": 32,
        f"{_name}.training.batch.source_views": 3,
        f"{_name}.training.batch.source_views_spread": 0,
        f"{_name}.training.batch.neighbourhood_max": 3,
    }
# Settings of an earlier run, so that a stage finds something to replace or to go on with.
EARLIER: dict[str, dict[str, object]] = {
    "fetch": {"fetch.synthetic.seed": 1, "scenes.test": ["tabletop_1", "tabletop_2"]},
    "prepare": {"prepare.hold": 2, "scenes.test": ["tabletop_1"]},
    "extract": {"extract.keep_raw": True, "teacher.prompts": ["a table and a wall"]},
    "reduce": {"reduce.dims": 4, "reduce.scope": "scene"},
    "pretrain": {"pretrain.training.max_steps": 2},
    "distill": {"distill.training.max_steps": 2},
    "evaluate": {"evaluate.strokes.seeds": [1]},
}


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml as it is run on the tiny project."""

    name: str
    module: str
    arguments: tuple[str, ...]
    reads: tuple[Path, ...]  # data and code
    writes: tuple[Path, ...]
    kept: tuple[Path, ...]  # those of `writes` that DVC leaves to the stage instead of deleting


@dataclass(frozen=True)
class Graph:
    """All stages in their order."""

    stages: tuple[Stage, ...]

    @cached_property
    def by_name(self) -> dict[str, Stage]:
        """The stages by their names."""
        return {stage.name: stage for stage in self.stages}

    def before(self, stage: Stage) -> Stage | None:
        """The stage in front of this one."""
        place = self.stages.index(stage)
        return self.stages[place - 1] if place else None

    def maker_of(self, path: Path) -> Stage | None:
        """The stage that writes a file."""
        makers = [s for s in self.stages if any(path.is_relative_to(out) for out in s.writes)]
        return makers[0] if makers else None

    def readers_of(self, path: Path) -> list[Stage]:
        """The stages that may read a file: a part of what they depend on."""
        return [s for s in self.stages if any(path.is_relative_to(dep) for dep in s.reads)]


def read_graph(dvc_yaml: Path = ROOT / "dvc.yaml") -> Graph:
    """Read the stages, with the names of the tiny project filled in."""
    params = tiny_params({})

    def value(name: re.Match[str]) -> str:
        if name[1] == "item.split":
            return SPLIT
        return str(reduce(lambda part, key: part[key], name[1].split("."), params))

    text = re.sub(r"\$\{([\w.]+)\}", value, dvc_yaml.read_text(encoding="utf-8"))
    stages = yaml.safe_load(text)["stages"]
    return Graph(tuple(_stage(name, entry) for name, entry in stages.items()))


def _stage(name: str, entry: Mapping[str, Any]) -> Stage:
    _, _, module, *arguments = entry["cmd"].split()
    writes, kept = [], []
    for out in [*entry.get("outs", []), *entry.get("metrics", [])]:
        path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
        writes.append(Path(path))
        kept += [Path(path)] if options.get("persist") else []
    reads = tuple(Path(dep) for dep in entry["deps"])
    return Stage(name, module, tuple(arguments), reads, tuple(writes), tuple(kept))


def tiny_params(changes: Mapping[str, object]) -> dict[str, Any]:
    """Return the repository's settings, made tiny and with changes, by dotted keys.

    Raises:
        ValueError: params.yaml has no such key.
    """
    params: dict[str, Any] = yaml.safe_load((ROOT / PARAMS).read_text(encoding="utf-8"))
    for key, value in {**CHANGES, **changes}.items():
        *sections, last = key.split(".")
        section = reduce(lambda part, name: part[name], sections, params)
        if last not in section:
            raise ValueError(f"{ROOT / PARAMS}: no key {key!r}: bring {__file__} up to date")
        section[last] = value
    return params


def write_params(path: Path, changes: Mapping[str, object]) -> None:
    """Write these settings to a file."""
    path.write_text(yaml.safe_dump(tiny_params(changes), sort_keys=False), encoding="utf-8")
