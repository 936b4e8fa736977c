"""Losses of both stages."""

import math
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional

from gsn.checks import check_shape
from gsn.model.network import Rendering

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class LossConfig:
    """Section `<stage>.loss` of params.yaml."""

    rgb_weight: Weight  # in stage II, published: 0.1
    feature_weight: Weight  # in stage II, published: 1.0, of the mean over channels
    # cosine: 1 - cos of prediction and target. mse: squared error, as published, which also asks
    # the prediction to have the length of the target.
    feature_loss: Literal["cosine", "mse"]


def colour_loss(
    rgb: Tensor,  # (R, 3)
    target: Tensor,  # (R, 3), in [0, 1]
) -> Tensor:  # ()
    """Return the mean squared error of the colours."""
    check_shape("target", target, "R 3", check_shape("rgb", rgb, "R 3"))
    return functional.mse_loss(rgb, target)


def feature_loss(
    feature: Tensor,  # (R, D)
    target: Tensor,  # (R, D), unit length
    kind: Literal["cosine", "mse"],
) -> Tensor:  # ()
    """Return how far the rendered features are from the teacher's."""
    check_shape("target", target, "R D", check_shape("feature", feature, "R D"))
    if kind == "mse":
        return functional.mse_loss(feature, target)
    return 1 - functional.cosine_similarity(feature, target, dim=-1).mean()


def total_loss(
    rendering: Rendering, rgb: Tensor, feature: Tensor | None, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum and its parts, detached, for the curves."""
    colour = colour_loss(rendering.rgb, rgb)
    loss = config.rgb_weight * colour
    parts = {"psnr_db": -10 / math.log(10) * torch.log(colour.detach())}
    if rendering.feature is not None and feature is not None:
        loss = loss + config.feature_weight * feature_loss(
            rendering.feature, feature, config.feature_loss
        )
        cosine = functional.cosine_similarity(rendering.feature.detach(), feature, dim=-1)
        parts["feature_cosine"] = cosine.mean()
    return loss, {"loss": loss.detach(), **parts}
