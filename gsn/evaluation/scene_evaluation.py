"""One scene of the benchmark: rendered, searched, scored, drawn."""

import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from gsn.evaluation.config import EvaluateConfig
from gsn.evaluation.metrics.image_metrics import Lpips
from gsn.evaluation.metrics.mask_table import MaskRow
from gsn.evaluation.metrics.mean_scores import mean_scores
from gsn.evaluation.metrics.true_masks import Curve
from gsn.evaluation.object_search import ObjectSearch
from gsn.evaluation.report.content import SceneSection
from gsn.evaluation.report.orbit import film_orbit
from gsn.evaluation.report.scene_pages import ScenePages
from gsn.evaluation.scene_scores import SceneScorer, Scores
from gsn.evaluation.scene_task import SceneTask
from gsn.evaluation.views.render_cache import RenderCache
from gsn.evaluation.views.rendering import SceneRenderer
from gsn.evaluation.views.scene_views import SceneViews

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneResult:
    """What one scene adds to the report."""

    name: str
    means: dict[str, Scores]  # by method: of pictures, features and their consistency
    rows: list[MaskRow]  # of objects that pixels point at
    text_rows: list[MaskRow]  # of objects that texts name
    curves: dict[str, list[Curve]]  # precision against recall, by method
    section: SceneSection  # of the page; its means are taken from the rest of this


def evaluate_scene(
    renderer: SceneRenderer,
    renders: RenderCache,
    task: SceneTask,
    config: EvaluateConfig,
    lpips: Lpips | None,
    images: Path,
    film: Path,
) -> SceneResult:
    """Score and draw the target views of a scene.

    Args:
        renderer: Of the scene.
        renders: Where rendered views are kept.
        task: What is asked.
        config: How to do it.
        lpips: If it can be had.
        images: Folder for a strip of pictures of each view.
        film: File for the film, if one is asked for.
    """
    scene = renderer.scene
    views = SceneViews(renderer, renders)
    objects = ObjectSearch(task.prompts, views, config.segmentation)
    prompted = {prompt.view for prompt in task.prompts}
    rendered = [*task.targets, *(n for n, name in enumerate(scene.view_names) if name in prompted)]
    scorer = SceneScorer(
        views, objects, task.texts, task.truth, rendered, lpips, config.consistency
    )
    pages = ScenePages(views, objects, task.prompts, task.truth, images)
    of_views: dict[str, list[Scores]] = {}
    rows: list[MaskRow] = []
    text_rows: list[MaskRow] = []
    curves: dict[str, list[Curve]] = {}
    for target in tqdm(task.targets, desc=scene.name, unit="view", leave=False):
        result = scorer.score(target)
        pages.add(result)
        rows += result.rows
        text_rows += result.text_rows
        for method, scores in result.scores.items():
            of_views.setdefault(method, []).append(scores)
        for method, found in task.truth.curves(target, result.found).items():
            curves.setdefault(method, []).extend(found)
    if task.n_frames:
        film_orbit(film, renderer, renders, pages, task.n_frames, config.orbit)
    log.info("%s: %d views rendered, %d reused", scene.name, renders.n_made, renders.n_reused)
    means = {method: mean_scores(found) for method, found in of_views.items()}
    section = pages.section(film.read_bytes() if task.n_frames else None)
    return SceneResult(scene.name, means, rows, text_rows, curves, section)
