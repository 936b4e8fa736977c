"""Bilateral region growing: a pixel that looks like its neighbours in a region joins the region.

ISRF (arXiv:2212.13545) grows a region in a 3-D grid of features. Here its rule works in the plane
of a view, on a window of 3x3 pixels, with a third weight for colours. In the window of pixel p,

    m(p) = Σ w m / Σ w,   w = exp(-|f - f'|² / σ_f) exp(-|grid offset|₁ / σ_d) exp(-|c - c'|² / σ_c)

with m = 1 in the region and 0 outside; p itself takes part with w = 1, so that a pixel unlike all
its neighbours stays out. Pixels of m ≥ `JOIN_FROM` join, round after round.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field, NonNegativeInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from gsn.checks import check_shape

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
PositiveFloat = Annotated[float, Field(gt=0)]

JOIN_FROM = 0.1  # where ISRF makes its grown values binary
LIFT = 0.5  # share of the gap to the confident level that a pixel of the region is spared
NEIGHBOURS = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class GrowConfig:
    """Section `evaluate.segmentation.grow` of params.yaml."""

    feature_sigma: PositiveFloat  # of squared differences of unit features, in [0, 4]; ISRF 0.5
    distance_sigma: PositiveFloat  # of offsets in rows + columns of the grid, 1 or 2; ISRF 5
    colour_sigma: PositiveFloat  # of squared differences of RGB, in [0, 3]
    rounds: NonNegativeInt  # at most; a region grows by at most one pixel of the grid in each


def grow(
    scores: FloatArray,  # (H, W)
    features: Tensor,  # (H, W, C)
    rgb: Tensor,  # (H, W, 3), in [0, 1]
    confident: float,
    config: GrowConfig,
) -> FloatArray:  # (H, W)
    """Raise the scores of what grows together with confident pixels.

    A pixel with the value m of the grown region gets s + m/2 · max(confident - s, 0): it is spared
    half of what it lacks. So a pixel beyond the region keeps its score, and among pixels of equal m
    the order of scores stays; a region that leaks costs less than one that overrules the scores.

    Args:
        scores: Higher is more like the object.
        features: Compared as directions; their length does not count.
        rgb: The colours of the same view.
        confident: Pixels that score at least this are the seeds.
        config: Widths of the weights, and how far regions grow.
    """
    region = grow_region(scores >= confident, features, rgb, config)
    return np.asarray(scores + LIFT * region * np.maximum(confident - scores, 0.0))


@torch.inference_mode()
def grow_region(
    seeds: Mask,  # (H, W)
    features: Tensor,  # (H, W, C)
    rgb: Tensor,  # (H, W, 3), in [0, 1]
    config: GrowConfig,
) -> FloatArray:  # (H, W)
    """Return m: 1 where the region came to, less along its border, 0 beyond."""
    size = check_shape("seeds", seeds, "H W")
    check_shape("features", features, "H W C", size)
    check_shape("rgb", rgb, "H W 3", size)
    weights = _weights(features, rgb, config)
    total = 1.0 + weights.sum(dim=0)

    def share(region: Tensor) -> Tensor:  # (H, W), of the window, weighted
        inside = region.float()
        near = torch.stack([_neighbour(inside, rows, columns) for rows, columns in NEIGHBOURS])
        return (inside + (weights * near).sum(dim=0)) / total

    region = torch.from_numpy(seeds).to(features.device)
    for _ in range(config.rounds):
        joined = region | (share(region) >= JOIN_FROM)
        if torch.equal(joined, region):
            break
        region = joined
    return torch.where(region, 1.0, share(region)).cpu().numpy().astype(np.float64)


def _weights(
    features: Tensor,  # (H, W, C)
    rgb: Tensor,  # (H, W, 3)
    config: GrowConfig,
) -> Tensor:  # (8, H, W)
    """Weight the neighbours of every pixel; those outside of the picture get 0."""
    feature = F.normalize(features.float(), dim=-1).permute(2, 0, 1)
    colour = rgb.float().permute(2, 0, 1)
    within = torch.ones_like(colour[0])
    found = []
    for rows, columns in NEIGHBOURS:
        feature_gap = (feature - _neighbour(feature, rows, columns)).square().sum(dim=0)
        colour_gap = (colour - _neighbour(colour, rows, columns)).square().sum(dim=0)
        exponent = feature_gap / config.feature_sigma + colour_gap / config.colour_sigma
        exponent += (abs(rows) + abs(columns)) / config.distance_sigma
        found.append(torch.exp(-exponent) * _neighbour(within, rows, columns))
    return torch.stack(found)


def _neighbour(
    maps: Tensor,  # (..., H, W)
    rows: int,  # -1, 0 or 1
    columns: int,  # -1, 0 or 1
) -> Tensor:  # (..., H, W)
    """Return at each pixel the value of its neighbour so many rows and columns on, else 0."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (1, 1, 1, 1))
    return padded[..., 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]
