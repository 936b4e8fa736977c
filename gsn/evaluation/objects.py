"""Segmentation of the objects of a scene from strokes in one source view."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor

from gsn.evaluation.prompts.strokes import draw_stroke
from gsn.evaluation.segmentation.centroids import (
    Metric,
    StrokePrompt,
    choose_threshold,
    fit_prompt,
    score_map,
    segment,
)

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class StrokeConfig:
    """Section `evaluate.stroke` of params.yaml."""

    seed: NonNegativeInt  # of the stroke and of k-means
    width_px: PositiveInt  # of the stroke
    n_clusters: PositiveInt  # of the features under it; 11 published
    distance: Metric  # cosine, or squared as published


@dataclass(frozen=True)
class ObjectQuery:
    """One object, ready to be found in any view: what a stroke and the prompt view gave."""

    label: str
    prompt: StrokePrompt
    threshold: float

    def find(
        self,
        features: Tensor,  # (h, w, C)
    ) -> tuple[Mask, npt.NDArray[np.float64]]:  # (h, w) both
        """Segment a view; return the mask and the score of every pixel."""
        scores = score_map(features, self.prompt)
        return segment(scores, self.threshold), scores


def pick_prompt_view(
    masks: dict[int, Labels],  # of the views that may be chosen
    n_labels: int,
) -> int:
    """Return the view that shows most objects, and of those the one whose smallest is largest."""

    def rank(view: int) -> tuple[int, int]:
        areas = np.bincount(masks[view].ravel(), minlength=n_labels + 1)[1 : n_labels + 1]
        shown = areas[areas > 0]
        return len(shown), int(shown.min()) if len(shown) else 0

    return max(sorted(masks), key=rank)


def make_queries(
    features: Tensor,  # (h, w, C), of the prompt view
    mask: Labels,  # (h, w), of the prompt view
    labels: tuple[str, ...],
    config: StrokeConfig,
) -> dict[int, ObjectQuery]:
    """Draw a stroke in every object that the prompt view shows and fit what it needs.

    This is all that any mask is used for before scoring: no mask of a target view comes here.

    Returns:
        By the value of the object in masks.
    """
    queries = {}
    for value, label in enumerate(labels, start=1):
        inside = mask == value
        if not inside.any():
            continue
        stroke = draw_stroke(inside, config.seed, config.width_px)
        prompt = fit_prompt(features, stroke, config.n_clusters, config.seed, config.distance)
        threshold = choose_threshold(score_map(features, prompt), inside)
        queries[value] = ObjectQuery(label, prompt, threshold)
    return queries
