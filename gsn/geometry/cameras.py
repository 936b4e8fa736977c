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

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

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
    # Inverted once, here: on a GPU the host waits for every inversion to tell that it went well.
    world_to_plane: Tensor = field(init=False)  # (V, 3, 4), (x, y, z, 1) → depth · (u, v, 1)
    plane_to_world: Tensor = field(init=False)  # (V, 3, 3), (u, v, 1) → direction of depth 1

    def __post_init__(self) -> None:
        self._check_shapes()
        with torch.autocast(self.intrinsics.device.type, enabled=False):  # pixels need float32
            to_plane = self.intrinsics @ torch.linalg.inv(self.cam_to_world)[:, :3]
            to_world = self.cam_to_world[:, :3, :3] @ torch.linalg.inv(self.intrinsics)
        object.__setattr__(self, "world_to_plane", to_plane)
        object.__setattr__(self, "plane_to_world", to_world)

    def __len__(self) -> int:
        return len(self.intrinsics)

    def __getitem__(self, views: Tensor | slice) -> "Cameras":
        """Return some of the cameras."""
        return self._derived(lambda values: values[views])

    @property
    def centres(self) -> Tensor:
        """Camera centres in the world, (V, 3)."""
        return self.cam_to_world[:, :3, 3]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is stored, view by view."""
        return self.intrinsics, self.cam_to_world, self.world_to_plane, self.plane_to_world

    def to(self, device: torch.device) -> "Cameras":
        """Return the same cameras on `device`."""
        return self._derived(lambda values: values.to(device))

    def _derived(self, change: Callable[[Tensor], Tensor]) -> "Cameras":
        """Return cameras with every tensor changed alike; nothing is inverted again."""
        derived = copy.copy(self)
        names = ("intrinsics", "cam_to_world", "world_to_plane", "plane_to_world")
        for name, values in zip(names, self.tensors, strict=True):
            object.__setattr__(derived, name, change(values))
        derived._check_shapes()
        return derived

    def _check_shapes(self) -> None:
        sizes = check_shape("intrinsics", self.intrinsics, "V 3 3")
        check_shape("cam_to_world", self.cam_to_world, "V 4 4", sizes)
