"""Rays of pixels and the depths at which they are sampled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gsn.checks import check_shape
from gsn.geometry.cameras import PIXEL_CENTRE, Cameras


@dataclass(frozen=True)
class Rays:
    """Rays of one or more target views; a point at depth z is `origins + z * directions`."""

    origins: Tensor  # (R, 3), the camera centre of each ray
    directions: Tensor  # (R, 3), not normalised: z is depth along the optical axis

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, rows: slice) -> "Rays":
        """Return some of the rays."""
        return Rays(self.origins[rows], self.directions[rows])

    def points(
        self,
        depths: Tensor,  # (R, S)
    ) -> Tensor:  # (R, S, 3)
        """Return the sample points in the world."""
        return self.origins[:, None] + depths[..., None] * self.directions[:, None]


def pixel_grid(height: int, width: int, stride: int = 1) -> Tensor:  # (h*w, 2)
    """Return the index (u, v) of every `stride`-th column and row, row by row."""
    v, u = torch.meshgrid(
        torch.arange(0, height, stride), torch.arange(0, width, stride), indexing="ij"
    )
    return torch.stack([u.flatten(), v.flatten()], dim=-1)


def pixel_rays(
    camera: Cameras,  # one view
    pixels: Tensor,  # (R, 2)
    pixel_centre: float = PIXEL_CENTRE,
) -> Rays:
    """Return the rays through pixels (u, v) of one view, d = R K⁻¹ (u + c, v + c, 1)ᵀ."""
    check_shape("intrinsics", camera.intrinsics, "1 3 3")
    check_shape("pixels", pixels, "R 2")
    plane = pixels.to(camera.intrinsics) + pixel_centre
    homogeneous = torch.cat([plane, torch.ones_like(plane[:, :1])], dim=-1)
    directions = homogeneous @ camera.plane_to_world[0].T
    return Rays(camera.centres.expand(len(pixels), 3), directions)


def sample_depths(
    near: Tensor,  # ()
    far: Tensor,  # ()
    n_samples: int,
    inverse: bool = True,
) -> Tensor:  # (S,)
    """Return depths from near to far, evenly spaced in 1/z (or in z)."""
    steps = torch.linspace(0.0, 1.0, n_samples, device=near.device)
    if inverse:
        return 1.0 / (1.0 / near + steps * (1.0 / far - 1.0 / near))
    return near + steps * (far - near)


def jitter_depths(
    depths: Tensor,  # (S,), increasing
    n_rays: int,
    generator: torch.Generator,
    inverse: bool = True,
) -> Tensor:  # (R, S)
    """Draw one depth per ray in the bin around each sample (stratified sampling).

    Bins meet half way between samples and end at the first and the last one. With `inverse` the
    draw is even in 1/z, as the samples are; the published code draws evenly in z, which prefers
    the far half of every bin.
    """
    axis = 1.0 / depths if inverse else depths
    middles = (axis[1:] + axis[:-1]) / 2
    lower = torch.cat([axis[:1], middles])
    upper = torch.cat([middles, axis[-1:]])
    draw = torch.rand(n_rays, len(depths), generator=generator, device=generator.device)
    drawn = lower + (upper - lower) * draw.to(depths.device)
    return 1.0 / drawn if inverse else drawn
