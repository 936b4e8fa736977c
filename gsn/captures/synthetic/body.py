"""An object of the scene as a distance function in world space, with its bounding sphere."""

import math

import torch
from torch import Tensor

from gsn.captures.synthetic.scene import SceneObject
from gsn.captures.synthetic.shapes import SHAPES

MARGIN = 0.01  # of the box around a shape, in the shape's own units


class Body:
    """One object, ready for rays."""

    def __init__(self, thing: SceneObject, device: torch.device) -> None:
        shape = SHAPES[thing.shape]
        self.shape = shape
        self.size = thing.size
        self.stretch = thing.stretch
        cos, sin = math.cos(thing.yaw), math.sin(thing.yaw)
        # Rows: axes of the object in the world, over its size.
        axes = [[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0 / thing.stretch]]
        self.world_to_local = torch.tensor(axes, dtype=torch.float32, device=device) / thing.size
        self.foot = self.world_to_local.new_tensor([*thing.position, 0.0])[:, None]
        half_height = thing.size * thing.stretch * shape.reach[2] / 2
        self.centre = self.foot + self.foot.new_tensor([0.0, 0.0, half_height])[:, None]
        self.radius = math.hypot(thing.size * shape.footprint, half_height)

    def local(self, p: Tensor) -> Tensor:
        """Bring world points (3, R) to the object's own space."""
        return self.world_to_local @ (p - self.foot)

    def interval(
        self,
        origin: Tensor,  # (3, 1)
        direction: Tensor,  # (3, R)
    ) -> tuple[Tensor, Tensor]:  # (R,), (R,)
        """Return where rays enter and leave the body's box; one that misses leaves first."""
        x, y, height = self.shape.reach
        low = direction.new_tensor([-x, -y, 0.0])[:, None] - MARGIN
        high = direction.new_tensor([x, y, height])[:, None] + MARGIN
        start, slope = self.local(origin), self.world_to_local @ direction
        slope = torch.where(slope.abs() < 1e-9, 1e-9, slope)
        first, second = (low - start) / slope, (high - start) / slope
        enter = torch.minimum(first, second).amax(0).clamp(min=0)
        return enter, torch.maximum(first, second).amin(0)

    def distance(self, p: Tensor) -> Tensor:
        """Return a signed distance (R,) in scene units, never larger than the true one."""
        return self.shape.distance(self.local(p)) * (self.size * min(1.0, self.stretch))

    def normal(self, p: Tensor) -> Tensor:
        """Return outward unit normals (3, R) at points of the surface, by central differences."""
        step = 2e-3
        slopes = []
        for axis in range(3):
            offset = torch.zeros_like(self.foot)
            offset[axis] = step
            slopes.append(self.distance(p + offset) - self.distance(p - offset))
        gradient = torch.stack(slopes)
        return gradient / length(gradient)


def length(vectors: Tensor) -> Tensor:
    """Return the lengths (R,) of vectors (3, R); `norm(dim=0)` is ten times slower on a CPU."""
    return (vectors[0] ** 2 + vectors[1] ** 2 + vectors[2] ** 2).sqrt()


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the scalar products (R,) of vectors (3, R) or (3, 1)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
