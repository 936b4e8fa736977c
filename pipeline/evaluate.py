"""Stage `evaluate`: render held-out views, find objects in them, score all beside comparators.

in   models/distill/<teacher>.pt            the model, with its settings
     data/prepared/<scene>.h5               packs of scenes.test (unseen) or scenes.train (seen)
     data/targets/<teacher>/<scene>.zarr    the teacher's maps, reduced
     data/targets/<teacher>/prompts.npz     texts to find objects by, if there are any
     data/raw/<scene>/prompts/              prompts by hand, if there are any
kept data/renders/<teacher>/<scene>/        rendered views; it can be deleted at any time
out  reports/<split>/index.html             everything a person wants to see, in one page
     reports/<split>/metrics.json           scores of the model, means over scenes
     reports/<split>/methods.json           of every method and every scene
     reports/<split>/*.csv                  of every object, view and prompt
     reports/<split>/plots/                 for `dvc plots`
     reports/<split>/images/<scene>/        a strip of pictures for each view
     reports/<split>/films/<scene>/orbit.mp4
     reports/<split>/prompts/<scene>/       strokes that were drawn, as prompt files
"""

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.atomic import complete_or_absent
from gsn.captures.origin import OriginError, check_unchanged
from gsn.captures.pack import PackError, open_pack
from gsn.evaluation.config import EvaluateConfig, Split
from gsn.evaluation.metrics.image_metrics import load_lpips
from gsn.evaluation.prompts.prompt_file import write_prompt
from gsn.evaluation.report.assemble_report import assemble_report
from gsn.evaluation.report.page import write_page
from gsn.evaluation.scene_evaluation import SceneResult, evaluate_scene
from gsn.evaluation.scene_task import SceneTask, make_task
from gsn.evaluation.summary import write_plots, write_tables
from gsn.evaluation.views.render_cache import RenderCache, fingerprint_renders
from gsn.evaluation.views.rendering import RenderConfig, SceneRenderer, pick_chunk_rays
from gsn.features.basis import BasisError
from gsn.features.prompts import PromptsError, load_text_query
from gsn.features.store import StoreError
from gsn.fingerprint import sha256_of_file
from gsn.lock import hold
from gsn.model.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from gsn.model.scene import Scene, load_scene
from pipeline.basis import check_basis
from pipeline.command import (
    DEFAULT_PARAMS,
    DeviceName,
    Kernels,
    ParamsFile,
    PreparedFolder,
    TargetsFolder,
    mend,
    run_stage,
)
from pipeline.config import ScenesConfig, load_section
from pipeline.device import pick_device
from pipeline.leakage import check_no_leakage
from pipeline.provenance import describe_commit, describe_machine

log = logging.getLogger(__name__)
PROMPT_FILES = "prompts"  # folder in a capture


@dataclass(frozen=True)
class Folders:
    """Where the stage reads and writes."""

    raw: Path  # captures, with prompt files
    prepared: Path
    targets: Path
    renders: Path
    out: Path


def evaluate(
    scenes: list[str],
    model: Path,
    folders: Folders,
    cfg: EvaluateConfig,
    split: Split,
    device: torch.device,
    use_kernels: bool = True,
) -> None:
    """Score the held-out views of the scenes; write tables, pictures, films and the page."""
    started = time.monotonic()
    checkpoint = load_checkpoint(model)
    network, model_sha256 = checkpoint.build_model(device), sha256_of_file(model)
    network.use_kernels = use_kernels
    lpips = load_lpips(device) if cfg.lpips else None
    chunk_rays = pick_chunk_rays(device, network, cfg.source_views)
    render = RenderConfig(cfg.source_views, cfg.pixel_stride, chunk_rays)
    out = folders.out
    log.info(
        "%s: %d scenes, of each %s held-out views and %d frames of film; renders are kept in %s",
        *(out, len(scenes), cfg.max_views_per_scene.of(split) or "all"),
        *(cfg.orbit.frames.of(split), folders.renders),
    )
    results: list[SceneResult] = []
    teachers: set[str] = set()
    with (
        ExitStack() as stack,
        complete_or_absent(out / "images") as images,
        complete_or_absent(out / "films") as films,
        complete_or_absent(out / "prompts") as prompts,
        logging_redirect_tqdm(),
    ):
        for name in scenes:  # those of the other split may be rendered meanwhile
            stack.enter_context(hold(folders.renders / name))
        for folder in (images, films, prompts):
            folder.mkdir()
        for name in tqdm(scenes, desc=out.name, unit="scene"):
            scene = load_scene(folders.prepared / f"{name}.h5", device, folders.targets)
            check_basis(scene, checkpoint)
            teachers.add(scene.teacher_name)
            task = read_task(scene, folders, cfg, split)
            write_prompts(prompts / name, task)
            renderer = SceneRenderer(network, scene, render)
            made_by = fingerprint_renders(model_sha256, scene, render)
            renders = RenderCache(folders.renders / name, made_by, device)
            film = films / name / "orbit.mp4"
            results.append(evaluate_scene(renderer, renders, task, cfg, lpips, images / name, film))
        minutes = (time.monotonic() - started) / 60
        facts = [("teacher", ", ".join(sorted(teachers))), *describe(checkpoint, cfg)]
        facts += [("machine", describe_machine(device)), ("minutes", f"{minutes:.1f}")]
        history = checkpoint.training.get("history", [])
        # What can fail comes before the first file of an older report is replaced.
        write_page(out / "index.html", assemble_report(split, results, facts, history))
        write_tables(out, results)
        write_plots(out / "plots", results)
    log.info("%d scenes in %.1f min: open %s", len(scenes), minutes, out / "index.html")


def read_task(scene: Scene, folders: Folders, cfg: EvaluateConfig, split: Split) -> SceneTask:
    """Read what is asked of a scene: from its pack, its prompt files, and the embedded texts."""
    query = load_text_query(folders.targets, scene.basis[0]) if scene.basis else None
    capture = folders.raw / scene.name
    check_unchanged(capture, PROMPT_FILES)
    with open_pack(folders.prepared / f"{scene.name}.h5") as pack:
        return make_task(pack, capture / PROMPT_FILES, query, cfg, split)


def write_prompts(folder: Path, task: SceneTask) -> None:
    """Write the prompts that were used as prompt files, to be looked at, changed and used again."""
    labels = list(dict.fromkeys(prompt.label for prompt in task.prompts))
    for prompt in task.prompts:
        # Labels are free text; files are called by their number, and read in the order of names.
        name = f"object_{labels.index(prompt.label) + 1:03d}_{prompt.draw:03d}"
        write_prompt(folder, name, prompt)


def describe(checkpoint: Checkpoint, cfg: EvaluateConfig) -> list[tuple[str, str]]:
    """Say what the numbers of a report are of."""
    segmentation = cfg.segmentation
    return [
        ("commit", describe_commit()),
        ("model", f"{checkpoint.step} steps of its last stage"),
        ("trained on", ", ".join(checkpoint.train_scenes)),
        ("source views", f"{cfg.source_views} for each rendered view"),
        ("pixels", f"1 in {cfg.pixel_stride} of each row and column"),
        ("seeds of strokes", ", ".join(map(str, cfg.strokes.seeds))),
        ("clusters", f"{segmentation.n_clusters}, {segmentation.distance} distance"),
        ("threshold", f"{segmentation.threshold}, in the prompt's own view"),
        ("refinement", segmentation.refine),
    ]


@mend("fetch", OriginError)
@mend("prepare", PackError)
@mend("reduce", StoreError, BasisError, PromptsError)
@mend("distill", CheckpointError)
def main(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    prepared: PreparedFolder,
    targets: TargetsFolder,
    split: Annotated[Split, typer.Argument(help="Test or training scenes.")],
    out: Annotated[Path, typer.Argument(help="Folder of the report.")],
    raw: Annotated[Path, typer.Option(help="Folder of captures, for their prompt files.")],
    renders: Annotated[Path, typer.Option(help="Folder to keep rendered views in.")],
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
    kernels: Kernels = True,
) -> None:
    """Score the model on held-out views."""
    cfg = load_section(params, "evaluate", EvaluateConfig)
    scenes = load_section(params, "scenes", ScenesConfig)
    learnt = load_checkpoint(model)
    learnt.check_finished(model)
    check_no_leakage(prepared, scenes.test, learnt.train_scenes, learnt.photographs)
    names = {"unseen": scenes.test, "seen": scenes.train}[split]
    folders = Folders(raw, prepared, targets, renders, out)
    evaluate(names, model, folders, cfg, split, pick_device(device), kernels)


if __name__ == "__main__":
    run_stage(main)
