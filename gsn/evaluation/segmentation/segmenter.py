"""From a prompt to the object in any view, on any feature map alike.

`fit_segmenter` reads the prompt and its own view; what it returns knows nothing but what it fitted
there, and gets features and colours of other views, never a mask.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor

from gsn.checks import check_shape
from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.segmentation.box import find_in_box
from gsn.evaluation.segmentation.centroids import (
    Centroids,
    Metric,
    fit_centroids,
    lead_map,
    score_map,
)
from gsn.evaluation.segmentation.guided_filter import GuidedConfig, guided_filter
from gsn.evaluation.segmentation.region_growing import GrowConfig, grow
from gsn.evaluation.segmentation.threshold import (
    ThresholdRule,
    cap_by_lead,
    pick_threshold,
    segment,
)

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class SegmentationConfig:
    """Section `evaluate.segmentation` of params.yaml.

    Rendered features are of unit length, so `distance: squared` ranks pixels nearly as `cosine`.
    """

    n_clusters: PositiveInt  # of the features under a stroke; 11 published
    seed: NonNegativeInt  # of k-means
    distance: Metric  # cosine, or squared as published
    threshold: ThresholdRule  # how the cut is found in the prompt's own view
    refine: Literal["none", "grow", "guided"]  # what is done to score maps before they are cut
    grow: GrowConfig
    guided: GuidedConfig


@dataclass(frozen=True)
class Segmentation:
    """An object in one view."""

    mask: Mask  # (h, w)
    scores: FloatArray  # (h, w), higher is more like the object; what the mask was cut from


@dataclass(frozen=True)
class Segmenter:
    """One object, ready to be found in any view."""

    centroids: Centroids
    confident: float  # unrefined scores from here on are seeds of region growing
    threshold: float  # of refined scores
    config: SegmentationConfig

    def __call__(
        self,
        features: Tensor,  # (h, w, C)
        rgb: Tensor,  # (h, w, 3), in [0, 1]
    ) -> Segmentation:
        """Find the object in a view."""
        check_shape("rgb", rgb, "h w 3", check_shape("features", features, "h w C"))
        raw = score_map(features, self.centroids)
        scores = refine_scores(raw, features, rgb, self.confident, self.config)
        lead = _refined_lead(features, rgb, self.centroids, self.config)
        scores = cap_by_lead(scores, lead, self.threshold)
        return Segmentation(segment(scores, self.threshold), scores)


def fit_segmenter(
    features: Tensor,  # (h, w, C), of the prompt's view
    rgb: Tensor,  # (h, w, 3), of the prompt's view, in [0, 1]
    prompt: PixelPrompt,
    config: SegmentationConfig,
) -> Segmenter:
    """Fit what it takes to find an object: centroids, and the threshold by the rule.

    The threshold is that of positive centroids alone; negative ones take pixels out of what it cuts
    (`cap_by_lead`). To cut their difference by a rule without reference fails: most of a view is
    like neither, and Otsu parts it in two (mean IoU 0.42 on two scenes with strokes, against 0.72).

    The confident level is the median score of the segment that the rule cuts from the unrefined
    scores. The pixels under the stroke do not tell it: the centroids were fitted to these very
    pixels, so no pixel of another view comes near their scores.

    Args:
        features: Feature of every pixel of the grid.
        rgb: Its colour.
        prompt: Its masks are those of the grid: `PixelPrompt.on_grid`.
        config: The method.

    Raises:
        ValueError: Shapes do not fit, or a score is not finite.
    """
    size = check_shape("features", features, "h w C")
    check_shape("rgb", rgb, "h w 3", size)
    for mask in (prompt.positive, prompt.box):
        if mask is not None:
            check_shape("prompt", mask, "h w", size)
    positive, reference = _pointed_at(features, prompt, config)
    centroids = fit_centroids(
        features, positive, config.n_clusters, config.seed, config.distance, prompt.negative
    )
    name = f"{prompt.label} in view {prompt.view}"
    raw, lead = score_map(features, centroids), lead_map(features, centroids)
    cut = pick_threshold(raw, reference, config.threshold, name, lead)
    inside = segment(cap_by_lead(raw, lead, cut), cut)
    confident = float(np.median(raw[inside if inside.any() else positive]))
    scores = refine_scores(raw, features, rgb, confident, config)
    lead = _refined_lead(features, rgb, centroids, config)
    threshold = pick_threshold(scores, reference, config.threshold, name, lead)
    return Segmenter(centroids, confident, threshold, config)


def refine_scores(
    scores: FloatArray,  # (h, w)
    features: Tensor,  # (h, w, C)
    rgb: Tensor,  # (h, w, 3), in [0, 1]
    confident: float,
    config: SegmentationConfig,
) -> FloatArray:  # (h, w)
    """Do to a score map what the settings ask for; the same in the prompt's view and in others."""
    if config.refine == "grow":
        return grow(scores, features, rgb, confident, config.grow)
    if config.refine == "guided":
        return guided_filter(scores, rgb, config.guided)
    return scores


def _pointed_at(
    features: Tensor,  # (h, w, C)
    prompt: PixelPrompt,
    config: SegmentationConfig,
) -> tuple[Mask, Mask | None]:  # (h, w) both: positive, reference
    """Turn a box into the pixels of the object in it, which are the reference if there is none."""
    if prompt.box is None:
        assert prompt.positive is not None  # a prompt has one of the two
        return prompt.positive, prompt.reference
    found = find_in_box(features, prompt.box, config.n_clusters, config.seed, config.distance)
    positive = found if prompt.positive is None else found | prompt.positive
    return positive, positive if prompt.reference is None else prompt.reference


def _refined_lead(
    features: Tensor,  # (h, w, C)
    rgb: Tensor,  # (h, w, 3)
    centroids: Centroids,
    config: SegmentationConfig,
) -> FloatArray | None:  # (h, w)
    """Return the lead over negative centroids, on the edges of the picture if scores are."""
    lead = lead_map(features, centroids)
    if lead is not None and config.refine == "guided":
        return guided_filter(lead, rgb, config.guided)
    return lead
