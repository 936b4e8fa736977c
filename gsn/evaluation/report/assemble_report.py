"""The report of a whole evaluation: tables, curves and scenes, ready to be written as a page."""

from collections.abc import Sequence
from dataclasses import replace

from gsn.evaluation.metrics.mask_table import Scores
from gsn.evaluation.report.content import Curve, Report
from gsn.evaluation.report.curves import (
    Series,
    bars_figure,
    precision_recall_figure,
    training_figure,
)
from gsn.evaluation.scene_evaluation import SceneResult
from gsn.evaluation.summary import mean_curves, objects_of, summarise_results

TRAINING_CURVES = {"psnr_db": "PSNR of training rays, dB", "feature_cosine": "feature cosine"}


def assemble_report(
    split: str,
    results: Sequence[SceneResult],
    facts: list[tuple[str, str]],
    history: Sequence[tuple[int, Scores]],  # of the training: step, values
) -> Report:
    """Gather what the page shows."""
    summary = summarise_results(results)
    curves = []
    if precision := mean_curves(results):
        figure = precision_recall_figure(precision)
        curves.append(Curve("Precision against recall, mean over views, objects, scenes", figure))
    if ious := {method: scores["iou"] for method, scores in summary.items() if "iou" in scores}:
        spreads = {m: summary[m]["iou_std"] for m in ious if "iou_std" in summary[m]}
        curves.append(Curve("IoU, with the spread over prompts", bars_figure(ious, spreads, "IoU")))
    for key, quantity in TRAINING_CURVES.items():
        points = [(step, values[key]) for step, values in history if key in values]
        if points:
            series = Series("stage II", [step for step, _ in points], [y for _, y in points])
            curves.append(Curve(f"Training: {quantity}", training_figure(quantity, [series])))
    return Report(
        title=f"Views of {split} scenes",
        summary=summary,
        scenes=[
            replace(one.section, means=summarise_results([one]), objects=objects_of(one))
            for one in results
        ],
        facts=facts,
        curves=curves,
    )
