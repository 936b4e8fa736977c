"""Settings that every reader of captures takes: image size and depth range."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

WIDEST = 1000.0  # margin around the depths of a scene, as a factor


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class ReadConfig:
    """How a capture is brought to working size; exactly one of the first two is set."""

    factor: int | None  # photographs from `images_<factor>`, else `images` divided by it
    long_side_px: int | None  # photographs are shrunk to this long side, never enlarged
    near_scale: float  # the depth range begins at this times the nearest bound
    far_scale: float  # and ends at this times the farthest bound
    outlier_percent: float  # of the near bounds, and of the far bounds, left out; 0 keeps all

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.long_side_px is None):
            raise ValueError(
                f"'factor' is {self.factor} and 'long_side_px' is {self.long_side_px}: expected "
                "a number for one and null for the other"
            )
        for name, value in (("factor", self.factor), ("long_side_px", self.long_side_px)):
            if value is not None and value < 1:
                raise ValueError(f"{name!r} is {value}: expected at least 1")
        if not 1 / WIDEST <= self.near_scale <= 1 <= self.far_scale <= WIDEST:
            raise ValueError(
                f"'near_scale' is {self.near_scale}, 'far_scale' {self.far_scale}: expected "
                f"{1 / WIDEST:g} <= near_scale <= 1 <= far_scale <= {WIDEST:g}"
            )
        if not 0 <= self.outlier_percent < 50:
            raise ValueError(f"'outlier_percent' is {self.outlier_percent}: expected 0 to below 50")
