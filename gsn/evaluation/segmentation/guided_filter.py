"""Guided filter: a score map takes on the edges of the picture it belongs to.

Feature maps have cells of several pixels, so scores cross the border of an object blurred; colours
are as fine as the picture. Filtering the scores with the colours as guide is "guided upsampling".
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from gsn.checks import check_shape

FloatArray = npt.NDArray[np.float64]
PositiveFloat = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class GuidedConfig:
    """Section `evaluate.segmentation.guided` of params.yaml."""

    radius_px: PositiveInt  # of the square window, in pixels of the grid; it is 2 r + 1 wide
    epsilon: PositiveFloat  # variance of colours (in [0, 1]) below which a window counts as flat


@torch.inference_mode()
def guided_filter(
    scores: FloatArray,  # (H, W)
    guide: Tensor,  # (H, W, 3), in [0, 1]
    config: GuidedConfig,
) -> FloatArray:  # (H, W)
    """Smooth a score map, but not across edges of the guide.

    He, Sun and Tang, Guided Image Filtering (TPAMI 2013), eqs. 14-16: in each window w, the scores
    p are fitted by an affine function of the colours I,

        a = (Σ + ε 1)⁻¹ (mean(I p) - mean(I) mean(p)),   b = mean(p) - a · mean(I)

    with the 3x3 covariance Σ of colours, and a pixel gets mean(a) · I + mean(b) over the windows
    that it lies in. Windows are cut off at the border of the picture.
    """
    size = check_shape("scores", scores, "H W")
    check_shape("guide", guide, "H W 3", size)
    radius = config.radius_px
    colour = guide.permute(2, 0, 1).double()  # (3, H, W)
    score = torch.from_numpy(scores).to(colour)  # (H, W)
    mean_colour = _box_mean(colour, radius)
    mean_score = _box_mean(score[None], radius)[0]
    covariance = _box_mean(colour * score, radius) - mean_colour * mean_score
    products = (colour[:, None] * colour[None]).flatten(0, 1)  # (9, H, W)
    mean_products = _box_mean(products, radius).reshape(3, 3, *scores.shape)
    spread = mean_products - mean_colour[:, None] * mean_colour[None]
    spread = spread.permute(2, 3, 0, 1) + config.epsilon * torch.eye(3).to(colour)
    slope = torch.linalg.solve(spread, covariance.permute(1, 2, 0)).permute(2, 0, 1)
    offset = mean_score - (slope * mean_colour).sum(dim=0)
    found = (_box_mean(slope, radius) * colour).sum(dim=0) + _box_mean(offset[None], radius)[0]
    return found.cpu().numpy().astype(np.float64)


def _box_mean(
    maps: Tensor,  # (N, H, W)
    radius: int,
) -> Tensor:  # (N, H, W)
    """Average over squares, of what lies in the picture; rows, then columns."""
    for kernel, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        maps = F.avg_pool2d(maps, kernel, stride=1, padding=padding, count_include_pad=False)
    return maps
