"""What a user chooses about synthetic captures; everything else is drawn from the seed."""

from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

Side = Annotated[int, Field(gt=0, le=8192)]  # bounds, so that a slip of the pen takes no memory


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class SyntheticConfig:
    """Size and number of the pictures, and how full the table is."""

    seed: NonNegativeInt  # together with the name of a scene it determines that scene
    n_views: Annotated[int, Field(gt=0, le=10_000)]
    width_px: Side
    height_px: Side
    min_objects: PositiveInt
    max_objects: Annotated[int, Field(gt=0, le=255)]  # masks hold their numbers in 8 bits
    # A pixel is the mean of the square of this many samples.
    samples_per_side: Annotated[int, Field(gt=0, le=16)]
    # Step between neighbouring cameras / their distance from the objects. 0.03 is as in LLFF
    # captures: 4 to 10 px of disparity between neighbours 192 px wide.
    baseline: Annotated[float, Field(gt=0, le=1)]

    def __post_init__(self) -> None:
        """Refuse a range of object counts that is empty."""
        if self.min_objects > self.max_objects:
            raise ValueError(
                f"min_objects {self.min_objects} is larger than max_objects {self.max_objects}"
            )
