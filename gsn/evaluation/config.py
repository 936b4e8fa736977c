"""Settings of an evaluation: section `evaluate` of params.yaml."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gsn.evaluation.metrics.consistency import ConsistencyConfig
from gsn.evaluation.prompts.scene_prompts import StrokeConfig
from gsn.evaluation.segmentation.relevancy import TextConfig
from gsn.evaluation.segmentation.segmenter import SegmentationConfig

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Split = Literal["unseen", "seen"]


@dataclass(frozen=True, config=STRICT)
class PerSplit:
    """A number for scenes that the model never saw, and one for those that it learnt from."""

    unseen: NonNegativeInt
    seen: NonNegativeInt

    def of(self, split: Split) -> int:
        """Return the number for a split."""
        return {"unseen": self.unseen, "seen": self.seen}[split]


@dataclass(frozen=True, config=STRICT)
class OrbitConfig:
    """Section `evaluate.orbit`: the film of each scene along a spiral."""

    frames: PerSplit  # along the whole path; 0: no film
    pixel_stride: PositiveInt  # every so many-th column and row is rendered
    frames_per_second: PositiveFloat


@dataclass(frozen=True, config=STRICT)
class EvaluateConfig:
    """Section `evaluate`."""

    source_views: PositiveInt  # nearest ones, for each rendered view
    pixel_stride: PositiveInt  # every so many-th column and row is rendered; 2 published
    max_views_per_scene: PerSplit  # held-out views, evenly picked; 0: all
    lpips: bool  # if its backbone can be had; it is downloaded once, 230 MB
    boundary_tolerance: Annotated[float, Field(gt=0, lt=1)]  # share of the diagonal
    strokes: StrokeConfig
    segmentation: SegmentationConfig
    text: TextConfig
    consistency: ConsistencyConfig
    orbit: OrbitConfig
