"""Projection of world points into source views, and how directions to a point compare."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gsn.checks import check_shape
from gsn.geometry.cameras import PIXEL_CENTRE, Cameras

_MIN_DEPTH = 1e-8
_MAX_PIXEL = 1e6


@dataclass(frozen=True)
class Projection:
    """Where N points are seen in V source views."""

    pixels: Tensor  # (V, N, 2), index (u, v), finite also where the point is not seen
    visible: Tensor  # (V, N), bool: in front of the camera and inside the image
    depths: Tensor  # (V, N), along each optical axis


def project(
    points: Tensor,  # (N, 3)
    cameras: Cameras,
    pixel_centre: float = PIXEL_CENTRE,
) -> Projection:
    """Project world points into every camera."""
    check_shape("points", points, "N 3")
    to_plane = cameras.world_to_plane
    plane = points @ to_plane[:, :, :3].transpose(1, 2) + to_plane[:, None, :, 3]
    depths = plane[..., 2]
    pixels = plane[..., :2] / depths.clamp(min=_MIN_DEPTH)[..., None] - pixel_centre
    pixels = pixels.clamp(-_MAX_PIXEL, _MAX_PIXEL)
    last = pair_like(pixels, cameras.width - 1, cameras.height - 1)
    inside = ((pixels >= 0) & (pixels <= last)).all(dim=-1)
    return Projection(pixels, inside & (depths > 0), depths)


def pair_like(values: Tensor, x: float, y: float) -> Tensor:  # (2,)
    """Return (x, y) with the type and on the device of `values`.

    `new_tensor` would copy the numbers from the host, and the host would wait for the copy; a
    line from x to y in two steps is written by the device itself, and exact.
    """
    return torch.linspace(x, y, 2, dtype=values.dtype, device=values.device)


def ray_difference(
    points: Tensor,  # (R, S, 3)
    target_centres: Tensor,  # (R, 3)
    source_centres: Tensor,  # (V, 3)
) -> Tensor:  # (R, S, V, 4)
    """Compare the directions from each point to the target camera and to every source camera.

    The first three numbers are the unit difference a - b of the unit directions, the fourth is
    a · b (IBRNet, arXiv 2102.13090, section 3.2).
    """
    to_target = _unit(target_centres[:, None] - points)[:, :, None]
    to_source = _unit(source_centres - points[:, :, None])
    difference = to_target - to_source
    length = difference.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    cosine = (to_target * to_source).sum(dim=-1, keepdim=True)
    return torch.cat([difference / length, cosine], dim=-1)


def _unit(vectors: Tensor) -> Tensor:
    length: Tensor = vectors.norm(dim=-1, keepdim=True)
    return vectors / (length + 1e-6)
