"""The renderer: samples of a ray become one colour, through view and ray transformers in turn."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from gsn.geometry.rays import Rays
from gsn.model.sources import Observations
from gsn.model.surface_blend import SurfaceBlend
from gsn.model.transformers import RayTransformer, ViewTransformer

_N_OCTAVES = 10
ENCODED_SIZE = 3 + 3 * 2 * _N_OCTAVES
_MIN_VIEWS = 2  # a sample seen by fewer says nothing about correspondence


@dataclass(frozen=True)
class RayTokens:
    """What the renderer found out about the samples of R rays."""

    rgb: Tensor  # (R, 3), not clamped
    token: Tensor  # (R, S, C), before the direction is known
    observations: Tensor  # (R, S, V, C), one token for each view
    used: Tensor  # (R, S), bool: samples that count
    depth_weights: Tensor | None  # (R, S), how much each sample is the surface; sum to 1


class Renderer(nn.Module):
    """Stage I network (GNT, arXiv 2207.13298, with GSN's late viewing direction).

    The published network decodes the colour from the mean token of a ray, and has to learn to
    repeat what the source views show. Without `parity` it finds the surface and blends their
    colours there, as IBRNet (arXiv 2102.13090) does, and decodes only what to add to that; it
    begins with adding nothing.
    """

    def __init__(
        self, appearance_size: int, width: int, depth: int, heads: int, dropout: float, parity: bool
    ) -> None:
        super().__init__()
        self.parity = parity
        self.embed = _mlp(appearance_size, width)
        self.view_blocks = nn.ModuleList(ViewTransformer(width, dropout) for _ in range(depth))
        self.ray_blocks = nn.ModuleList(RayTransformer(width, heads, dropout) for _ in range(depth))
        # After every second view block the token is told where its point is.
        self.position_mlps = nn.ModuleList(
            _mlp(width + ENCODED_SIZE, width) for _ in range(0, depth, 2)
        )
        self.norm = nn.LayerNorm(width)
        self.direction_mlp = _mlp(width + ENCODED_SIZE, width)
        self.rgb = nn.Linear(width, 3)
        self.blend = None if parity else SurfaceBlend(width, width)
        if not parity:
            nn.init.zeros_(self.rgb.weight)
            nn.init.zeros_(self.rgb.bias)

    def forward(
        self,
        seen: Observations,
        rays: Rays,
        points: Tensor,  # (R, S, 3)
        with_depth: bool = False,
    ) -> RayTokens:
        """Render the colour of every ray; `with_depth` asks for the weights of its samples too."""
        used = self.used_samples(seen.visible.sum(dim=-1), seen.visible.shape[-1])
        observations = self.embed(seen.appearance)
        token = pool_views(observations, seen.visible, self.parity)
        place = encode_position(points if self.parity else contract(points))
        weights = None
        for i, view_block in enumerate(self.view_blocks):
            token = view_block(token, observations, seen.ray_difference, seen.visible)
            if i % 2 == 0:
                token = self.position_mlps[i // 2](torch.cat([token, place], dim=-1))
            ray_block = cast(RayTransformer, self.ray_blocks[i])
            if self.blend is None and with_depth and i == len(self.ray_blocks) - 1:
                weights = mean_over_ray(ray_block.attention(token, used), used)
            token = ray_block(token, used)
        direction = encode_position(nn.functional.normalize(rays.directions, dim=-1))
        direction = direction[:, None].expand(-1, token.shape[1], -1)
        decoded = self.direction_mlp(torch.cat([self.norm(token), direction], dim=-1))
        rgb = self.rgb(mean_over_ray(decoded, used)).float()
        if self.blend is not None:
            blended, weights = self.blend(
                seen.appearance[..., :3],
                *(decoded, observations, seen.ray_difference, seen.visible, used),
            )
            rgb = rgb + blended
        return RayTokens(rgb, token, observations, used, weights)

    def used_samples(
        self,
        n_seeing: Tensor,  # (R, S): how many views see the sample
        n_views: int,
    ) -> Tensor:  # (R, S), bool
        """Return which samples count: those that enough views see; all, if a ray has none such."""
        enough = n_seeing >= min(_MIN_VIEWS, n_views)
        return enough | ~enough.any(dim=-1, keepdim=True) | self.parity


def encode_position(
    vectors: Tensor,  # (..., 3)
) -> Tensor:  # (..., 63)
    """Return (y, sin 2⁰y, cos 2⁰y, …, sin 2⁹y, cos 2⁹y) (NeRF, arXiv 2003.08934, without π)."""
    octaves = 2.0 ** torch.arange(_N_OCTAVES, device=vectors.device)
    angles = vectors.float()[..., None, :] * octaves[:, None]
    waves = torch.stack([angles.sin(), angles.cos()], dim=-2)
    return torch.cat([vectors.float(), waves.flatten(-3)], dim=-1)


def contract(
    points: Tensor,  # (..., 3)
) -> Tensor:  # (..., 3), length < 2
    """Bring unbounded space into a ball (Mip-NeRF 360, arXiv 2111.12077, eq. 10).

    The encoding's top octave has a period of 0.012: of coordinates of tens of units, as a distant
    background has, it would be noise.
    """
    length: Tensor = points.norm(dim=-1, keepdim=True).clamp(min=1.0)
    return points * (2.0 - 1.0 / length) / length


def pool_views(
    observations: Tensor,  # (R, S, V, C)
    visible: Tensor,  # (R, S, V), bool
    parity: bool,
) -> Tensor:  # (R, S, C)
    """Return the maximum over the views that see the sample, zero if none does.

    The published code takes the maximum over all views, so that the zeros of views that see
    nothing win against negative features.
    """
    if parity:
        return observations.amax(dim=2)
    lowest = torch.finfo(observations.dtype).min
    pooled = observations.masked_fill(~visible[..., None], lowest).amax(dim=2)
    return pooled.masked_fill(~visible.any(dim=-1, keepdim=True), 0.0)


def mean_over_ray(
    values: Tensor,  # (R, S, C)
    used: Tensor,  # (R, S), bool
) -> Tensor:  # (R, C)
    """Average the samples that count."""
    share = used / used.sum(dim=1, keepdim=True)
    return (values * share[..., None]).sum(dim=1)


def _mlp(width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width), nn.ReLU(), nn.Linear(width, width))
