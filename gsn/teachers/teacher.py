"""What a teacher is: photographs in, one feature vector a cell out, and what made the maps."""

from typing import Protocol

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from gsn.geometry.cell_grid import CellGrid

HUB = "hub"
SEEDED = "seeded"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class TeacherConfig:
    """Section `teacher` of params.yaml."""

    name: str  # one of gsn.teachers.TEACHERS
    weights: str  # hub: trained, downloaded; seeded: untrained; else the path of a weights file
    seed: int  # of the untrained weights; not used by the others


class Teacher(Protocol):
    """A frozen network that turns photographs into feature maps."""

    name: str
    channels: int
    trained: bool  # False for `seeded` weights: say so wherever numbers made with it appear
    fingerprint: dict[str, object]  # all that changes a map, as plain values with a JSON form

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of a photograph of this size."""

    def grid(self, height: int, width: int) -> CellGrid:
        """Return where the cells of that map lie in the photograph."""

    def __call__(
        self,
        images: Tensor,  # (B, H, W, 3) uint8, RGB, on any device
    ) -> Tensor:  # (B, h, w, C) float32, on the teacher's device
        """Compute the maps."""
