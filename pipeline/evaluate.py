"""Stage `evaluate`: render held-out views and score them beside baselines.

in   models/distill/<teacher>.pt            the model, with its settings
     data/prepared/<scene>.h5               packs of scenes.test (unseen) or scenes.train (seen)
     data/targets/<teacher>/<scene>.zarr    the teacher's maps, reduced
     data/targets/<teacher>/prompts.npz     texts to find objects by, if there are any
out  reports/<split>/metrics.json           means over scenes by method; each scene under `scenes`
     reports/<split>/images/                a strip of pictures for each view
"""

import json
import logging
import time
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.atomic import complete_or_absent
from gsn.captures.pack import open_pack
from gsn.evaluation.metrics.image_metrics import load_lpips
from gsn.evaluation.metrics.mean_scores import mean_scores
from gsn.evaluation.objects import Labels, StrokeConfig
from gsn.evaluation.scene_pictures import ScenePictures
from gsn.evaluation.scene_scores import RenderConfig, SceneScorer, Scores, held_out_views
from gsn.features.prompts import load_text_query
from gsn.features.targets import SHARED_BASIS
from gsn.model.checkpoint import Checkpoint, load_checkpoint
from gsn.model.scene import Scene, load_scene
from pipeline.command import (
    DEFAULT_PARAMS,
    DeviceName,
    ParamsFile,
    PreparedFolder,
    TargetsFolder,
    run_stage,
)
from pipeline.config import STRICT, ScenesConfig, load_section
from pipeline.device import pick_device

log = logging.getLogger(__name__)
# Rays at a time: on a CPU few enough for its cache. The result does not depend on it.
CHUNK_RAYS = {"cpu": 128, "cuda": 4096}
MethodScores = dict[str, Scores]


@dataclass(frozen=True, config=STRICT)
class ViewLimits:
    """How many of the held-out views of a scene are scored, evenly picked; 0: all."""

    unseen: NonNegativeInt
    seen: NonNegativeInt


@dataclass(frozen=True, config=STRICT)
class EvaluateConfig:
    """Section `evaluate` of params.yaml."""

    source_views: PositiveInt  # nearest ones, for each rendered view
    pixel_stride: PositiveInt  # every so many-th column and row is rendered; 2 published
    max_views_per_scene: ViewLimits
    lpips: bool  # if its backbone can be had; it is downloaded once, 230 MB
    stroke: StrokeConfig


def evaluate(
    packs: list[Path],
    targets: Path,
    checkpoint: Checkpoint,
    out: Path,
    cfg: EvaluateConfig,
    max_views: int,
    device: torch.device,
) -> None:
    """Score the held-out views of the packs and write metrics and pictures to `out`."""
    model = checkpoint.build_model(device)
    lpips = load_lpips(device) if cfg.lpips else None
    log.info(
        "%s: up to %s views of %d scenes to render", out, max_views or "all held-out", len(packs)
    )
    scores: dict[str, MethodScores] = {}
    started = time.monotonic()
    with complete_or_absent(out / "images") as images, logging_redirect_tqdm():
        images.mkdir()
        for pack in tqdm(packs, desc=out.name, unit="scene"):
            scene = load_scene(pack, device, targets)
            check_basis(scene, checkpoint)
            log.info("%s: features of %s", scene.name, scene.teacher_name)
            masks, labels = read_masks(pack)
            render = RenderConfig(cfg.source_views, cfg.pixel_stride, CHUNK_RAYS[device.type])
            text = load_text_query(targets, scene.basis[0]) if scene.basis else None
            scorer = SceneScorer(model, scene, masks, labels, render, cfg.stroke, lpips, text)
            scores[scene.name] = score_scene(scorer, images / scene.name, max_views)
    write_metrics(out / "metrics.json", scores)
    log.info("%d scenes in %.0f s, to %s", len(packs), time.monotonic() - started, out)


def score_scene(scorer: SceneScorer, images: Path, limit: int) -> MethodScores:
    """Score the held-out views of a scene, write their pictures, return the means by method."""
    pictures = ScenePictures(scorer.scene, images)
    rows: dict[str, list[Scores]] = {}
    for target in tqdm(held_out_views(scorer.scene, limit or None), unit="view", leave=False):
        result = scorer.score(target)
        pictures.write(result)
        for method, scores in result.scores.items():
            rows.setdefault(method, []).append(scores)
    return {method: mean_scores(of_views) for method, of_views in rows.items()}


def check_unseen(scenes: list[str], checkpoint: Checkpoint) -> None:
    """Refuse to call scenes unseen that the model was trained on."""
    if seen := sorted(set(scenes) & set(checkpoint.train_scenes)):
        raise ValueError(
            f"the model was trained on {', '.join(seen)}, which scenes.test calls unseen: run "
            "pretrain and distill again"
        )


def check_basis(scene: Scene, checkpoint: Checkpoint) -> None:
    """Refuse targets in another PCA basis than the one the model was trained to render.

    With one basis for each scene, a scene the model never saw has a basis it never saw.
    """
    if scene.basis is None or checkpoint.feature_channels is None:
        return
    file, sha256 = scene.basis
    known = checkpoint.basis_sha256
    if not known:
        raise ValueError(
            "the basis of the features that this model renders is unknown (an imported model): "
            "train it on these targets with pipeline.distill first"
        )
    if file not in known and SHARED_BASIS not in {file, *known}:
        log.warning("%s: scored in a basis of its own, which the model never saw", scene.name)
        return
    if known.get(file) != sha256:
        raise ValueError(
            f"scene {scene.name!r}: targets in the basis {file} {sha256[:12]}, but the model "
            f"renders {', '.join(f'{name} {value[:12]}' for name, value in known.items())}: "
            "run `dvc repro distill`"
        )


def read_masks(path: Path) -> tuple[dict[int, Labels], tuple[str, ...]]:
    """Read the masks of a pack, by view, and the names of their objects."""
    with open_pack(path) as pack:
        views = [view for view in range(pack.n_views) if pack.mask_present[view]]
        return {view: pack.mask(view) for view in views}, pack.labels


def write_metrics(path: Path, scores: dict[str, MethodScores]) -> None:
    """Write means over scenes for each method, and under `scenes` those of each scene."""
    methods = dict.fromkeys(method for by_method in scores.values() for method in by_method)
    means = {
        method: mean_scores([found[method] for found in scores.values() if method in found])
        for method in methods
    }
    with complete_or_absent(path) as partial:
        partial.write_text(json.dumps(means | {"scenes": scores}, indent=2) + "\n")


def main(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    prepared: PreparedFolder,
    targets: TargetsFolder,
    split: Annotated[Literal["unseen", "seen"], typer.Argument(help="Test or training scenes.")],
    out: Annotated[Path, typer.Argument(help="Folder of the report.")],
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
) -> None:
    """Score the model on held-out views."""
    cfg = load_section(params, "evaluate", EvaluateConfig)
    scenes = load_section(params, "scenes", ScenesConfig)
    names, limit = {
        "unseen": (scenes.test, cfg.max_views_per_scene.unseen),
        "seen": (scenes.train, cfg.max_views_per_scene.seen),
    }[split]
    checkpoint = load_checkpoint(model)
    if split == "unseen":
        check_unseen(names, checkpoint)
    packs = [prepared / f"{name}.h5" for name in names]
    evaluate(packs, targets, checkpoint, out, cfg, limit, pick_device(device))


if __name__ == "__main__":
    run_stage(main)
