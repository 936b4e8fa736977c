"""What a user chooses about synthetic captures; everything else is drawn from the seed."""

from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class SyntheticConfig:
    """Size and number of the pictures, and how full the table is."""

    seed: NonNegativeInt  # together with the name of a scene it determines that scene
    n_views: PositiveInt
    width_px: PositiveInt
    height_px: PositiveInt
    min_objects: PositiveInt
    max_objects: Annotated[int, Field(gt=0, le=255)]  # masks hold their numbers in 8 bits
    samples_per_side: PositiveInt  # a pixel is the mean of the square of this many samples
    # 0.03 is as in LLFF captures: 4 to 10 px of disparity between neighbours 192 px wide.
    baseline: PositiveFloat  # step between neighbouring cameras / their distance from the objects

    def __post_init__(self) -> None:
        """Refuse a range of object counts that is empty."""
        if self.min_objects > self.max_objects:
            raise ValueError(
                f"min_objects {self.min_objects} is larger than max_objects {self.max_objects}"
            )
