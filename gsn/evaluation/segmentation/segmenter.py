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
from gsn.evaluation.segmentation.centroids import Metric, StrokePrompt, fit_prompt, score_map
from gsn.evaluation.segmentation.guided_filter import GuidedConfig, guided_filter
from gsn.evaluation.segmentation.region_growing import GrowConfig, grow
from gsn.evaluation.segmentation.threshold import ThresholdRule, pick_threshold, segment

FloatArray = npt.NDArray[np.float64]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class SegmentationConfig:
    """Section `evaluate.segmentation` of params.yaml."""

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

    mask: npt.NDArray[np.bool_]  # (h, w)
    scores: FloatArray  # (h, w), higher is more like the object; what the mask was cut from


@dataclass(frozen=True)
class Segmenter:
    """One object, ready to be found in any view."""

    prompt: StrokePrompt
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
        raw = score_map(features, self.prompt)
        scores = refine_scores(raw, features, rgb, self.confident, self.config)
        return Segmentation(segment(scores, self.threshold), scores)


def fit_segmenter(
    features: Tensor,  # (h, w, C), of the prompt's view
    rgb: Tensor,  # (h, w, 3), of the prompt's view, in [0, 1]
    prompt: PixelPrompt,
    config: SegmentationConfig,
) -> Segmenter:
    """Fit what it takes to find an object: centroids, and the threshold by the rule.

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
    check_shape("prompt", prompt.positive, "h w", size)
    centroids = fit_prompt(
        features,
        prompt.positive,
        config.n_clusters,
        config.seed,
        config.distance,
        prompt.negative,
    )
    name = f"{prompt.label} in view {prompt.view}"
    raw = score_map(features, centroids)
    cut = pick_threshold(raw, prompt.reference, config.threshold, name)
    confident = float(np.median(raw[segment(raw, cut)]))
    scores = refine_scores(raw, features, rgb, confident, config)
    threshold = pick_threshold(scores, prompt.reference, config.threshold, name)
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
