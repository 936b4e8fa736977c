"""The tables of an evaluation: scores of all scenes, as means and as files."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gsn.atomic import complete_or_absent
from gsn.evaluation.metrics.mask_table import MaskRow, summarise, summarise_objects, write_rows
from gsn.evaluation.metrics.mean_scores import mean_scores
from gsn.evaluation.metrics.true_masks import Curve
from gsn.evaluation.report.content import MethodScores
from gsn.evaluation.report.scene_pages import TEXT_PREFIX
from gsn.evaluation.scene_evaluation import SceneResult
from gsn.evaluation.views.comparators import MODEL

# One line of `dvc metrics show` has room for so many.
HEADLINES = (
    *("psnr_db", "ssim", "lpips", "feature_cosine", "consistency_pck"),
    *("iou", "iou_std", "boundary_f", "average_precision", "text_iou"),
)


def summarise_results(results: Sequence[SceneResult]) -> MethodScores:
    """Average over scenes, by method: every scene counts the same, whatever its number of views."""
    methods = dict.fromkeys(method for result in results for method in result.means)
    means = {
        method: mean_scores([result.means[method] for result in results if method in result.means])
        for method in methods
    }
    return _joined(means, summarise(_rows(results)), _of_texts(summarise(_text_rows(results))))


def objects_of(result: SceneResult) -> dict[str, MethodScores]:
    """Average over the views of a scene, by object and method."""
    strokes = summarise_objects(result.rows).get(result.name, {})
    texts = summarise_objects(result.text_rows).get(result.name, {})
    return {
        label: _joined(strokes.get(label, {}), _of_texts(texts.get(label, {})))
        for label in dict.fromkeys([*strokes, *texts])
    }


def write_tables(folder: Path, results: Sequence[SceneResult]) -> None:
    """Write all scores of an evaluation.

    `metrics.json`: the `HEADLINES` of the model, means over scenes: what two runs are compared by.
    `methods.json`: the same for every method, for every scene under `scenes`, and for every object
    of a scene under `objects`.
    `objects.csv`, `texts.csv`: one line for each object, view, prompt and method.
    """
    summary = summarise_results(results)
    of_model = summary.get(MODEL, {})
    headlines = {name: of_model[name] for name in HEADLINES if name in of_model}
    _write_json(folder / "metrics.json", headlines)
    scenes = {result.name: summarise_results([result]) for result in results}
    objects = {result.name: objects_of(result) for result in results}
    _write_json(folder / "methods.json", {**summary, "scenes": scenes, "objects": objects})
    for name, rows in (("objects", _rows(results)), ("texts", _text_rows(results))):
        write_rows(folder / f"{name}.csv", rows)


def write_plots(folder: Path, results: Sequence[SceneResult]) -> None:
    """Write what `dvc plots` draws: IoU of each method, precision against recall.

    The folder is written whole: no curve of an earlier evaluation is left in it.
    """
    summary = summarise_results(results)
    lines = [
        f"{method},{scores['iou']!r},{scores.get('iou_std', 0.0)!r}"
        for method, scores in summary.items()
        if "iou" in scores
    ]
    with complete_or_absent(folder) as partial:
        curves = partial / "precision_recall"
        curves.mkdir(parents=True)
        _write_lines(partial / "iou.csv", ["method,iou,iou_std", *lines])
        for method, (recall, precision) in mean_curves(results).items():
            points = zip(recall.tolist(), precision.tolist(), strict=True)
            lines = [f"{r!r},{p!r}" for r, p in points]
            _write_lines(curves / f"{method}.csv", ["recall,precision", *lines])


def mean_curves(results: Sequence[SceneResult]) -> dict[str, Curve]:
    """Average the curves of objects and views within each scene, then over scenes."""
    by_method: dict[str, list[Curve]] = {}
    for result in results:
        for method, curves in result.curves.items():
            by_method.setdefault(method, []).append(_mean_curve(curves))
    return {method: _mean_curve(curves) for method, curves in by_method.items()}


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    recall = curves[0][0]  # the same grid for all
    return recall, np.mean([precision for _, precision in curves], axis=0)


def _joined(*parts: MethodScores) -> MethodScores:
    """Put the scores of each method together; the parts have none in common."""
    return {
        method: {name: value for part in parts for name, value in part.get(method, {}).items()}
        for method in dict.fromkeys(method for part in parts for method in part)
    }


def _of_texts(scores: MethodScores) -> MethodScores:
    return {
        method: {TEXT_PREFIX + name: value for name, value in of_method.items()}
        for method, of_method in scores.items()
    }


def _rows(results: Sequence[SceneResult]) -> list[MaskRow]:
    return [row for result in results for row in result.rows]


def _text_rows(results: Sequence[SceneResult]) -> list[MaskRow]:
    return [row for result in results for row in result.text_rows]


def _write_json(path: Path, content: object) -> None:
    with complete_or_absent(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n")
