"""The one camera convention of the project.

Axes are OpenCV's: x right, y down, z forward; `cam_to_world` maps camera to world coordinates. One
scene is scaled so that its smallest depth bound is 4/3. Depth is measured along the optical axis,
not along the ray.

Two ways to say where something is in an image:
- pixel index (u, v): column, row; an integer is the *centre* of a pixel;
- image plane: what `intrinsics` maps to; the corner of the image is (0, 0), its middle (W/2, H/2).
They differ by half a pixel: plane = index + `PIXEL_CENTRE`. The published code leaves the half out
(0 in place of 0.5), so functions that need it take it as an argument.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gsn.checks import check_shape

PIXEL_CENTRE = 0.5
REFERENCE_PIXEL_CENTRE = 0.0  # of the published code, for parity


@dataclass(frozen=True)
class Cameras:
    """Cameras of V views that share one image size."""

    intrinsics: Tensor  # (V, 3, 3), pixels
    cam_to_world: Tensor  # (V, 4, 4)
    height: int
    width: int

    def __post_init__(self) -> None:
        sizes = check_shape("intrinsics", self.intrinsics, "V 3 3")
        check_shape("cam_to_world", self.cam_to_world, "V 4 4", sizes)

    def __len__(self) -> int:
        return len(self.intrinsics)

    def __getitem__(self, views: Tensor | slice) -> "Cameras":
        """Return some of the cameras."""
        return Cameras(self.intrinsics[views], self.cam_to_world[views], self.height, self.width)

    @property
    def centres(self) -> Tensor:
        """Camera centres in the world, (V, 3)."""
        return self.cam_to_world[:, :3, 3]

    def to(self, device: torch.device) -> "Cameras":
        """Return the same cameras on `device`."""
        return Cameras(
            self.intrinsics.to(device), self.cam_to_world.to(device), self.height, self.width
        )
