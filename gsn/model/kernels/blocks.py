"""Fast twins of the view block and the ray block, with the weights of the readable ones."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsn.model.kernels.attention import attend
from gsn.model.kernels.branch import Branch
from gsn.model.kernels.common import Seeds, behind_norm
from gsn.model.kernels.linear import linear, linear_beside
from gsn.model.kernels.merge import MergeWeights, merge
from gsn.model.kernels.mlp import mlp
from gsn.model.kernels.tail import tail
from gsn.model.transformers import AttentionBlock, RayTransformer, ViewTransformer

SEEDS_OF_PAIR = 6  # dropouts of a view block and a ray block: attention, and two places after it


@dataclass(frozen=True)
class Observed:
    """What the blocks read of the source views at N samples; views come first."""

    tokens: Tensor  # (V, N, F)
    teacher: Tensor | None  # (V, N, D); the feature head reads it beside the tokens
    ray_difference: Tensor  # (V, N, 4)
    colour: Tensor  # (V, N, 4), float32: RGB and 0
    visible: Tensor  # (V, N), uint8: 1 where the view sees the sample
    n_seeing: Tensor  # (N,), float32: how many views see the sample


def view_block(
    block: ViewTransformer,
    token: Tensor,  # (N, C)
    seen: Observed,
    seeds: Seeds,
    branch: Branch,
) -> tuple[Tensor, Tensor]:  # (N, C), (V, N, F)
    """Update the token of every sample; return the observations too, to be used from here on."""
    width = seen.tokens.shape[-1]
    weights, of_query = branch.make(lambda: _merged_weights(block, width))
    query, token = linear_beside(token, *of_query, block.attention_norm.eps)
    merged, tokens = merge(
        *(seen.tokens, seen.teacher, seen.ray_difference, seen.visible, seen.n_seeing, query),
        *(weights, seeds.dropout, seeds.next()),
    )
    return _add_to(block, token, merged, seeds, branch), tokens


def ray_block(
    block: RayTransformer,
    token: Tensor,  # (N, C)
    used: Tensor | None,  # (R, S), bool: samples that others may look at; None: all
    n_samples: int,
    seeds: Seeds,
    branch: Branch,
) -> Tensor:  # (N, C)
    """Update the token of every sample from the others of its ray."""
    layer = branch.make(lambda: _projection(block))
    projected, token = linear_beside(token, *layer, block.attention_norm.eps)
    merged = attend(projected, used, block.n_heads, n_samples, seeds.dropout, seeds.next())
    return _add_to(block, token, merged, seeds, branch)


def _add_to(
    block: AttentionBlock, token: Tensor, merged: Tensor, seeds: Seeds, branch: Branch
) -> Tensor:
    if not torch.is_grad_enabled() and seeds.dropout == 0:
        return tail(block, token, merged)
    token = linear(
        *(merged, block.output.weight, block.output.bias, None, token),
        *(seeds.dropout, seeds.next()),
    )
    feed, norm = block.feed, block.feed_norm
    return mlp(
        token,
        branch.behind_norm(norm, feed.grow.weight, feed.grow.bias),
        (feed.shrink.weight, feed.shrink.bias),
        norm.eps,
        residual=True,
        dropout=seeds.dropout,
        seed=seeds.next(),
    )


def _projection(block: RayTransformer) -> tuple[Tensor, Tensor]:  # (3 C, C), (3 C,)
    """Return the layer that makes query, key and value of a normed token."""
    weight = torch.cat([layer.weight for layer in (block.query, block.key, block.value)])
    return behind_norm(block.attention_norm, weight, None)


def _merged_weights(
    block: ViewTransformer, width: int
) -> tuple[MergeWeights, tuple[Tensor, Tensor]]:
    """Return the products that `merge` wants, and the layer that makes its query of a token.

    Of the C channels that a key is made of, `width` are of the observation, others of the teacher.

    The bias of the last layer of the score is left out: it is the same for all views, which a
    softmax does not see. So is its gradient, which is zero.
    """
    score, last_score = (cast(nn.Linear, block.score[i]) for i in (0, 2))
    place, out = (cast(nn.Linear, block.position[i]) for i in (0, 2))
    one = functional.pad(torch.ones_like(place.bias[:1]), (place.in_features, 0))[None]
    of_place = torch.cat([out.weight, out.bias[:, None]], dim=1)
    only_bias = functional.pad(score.bias[:, None], (out.in_features, 0))
    value = block.value.weight @ block.key.weight
    of_key = score.weight @ block.key.weight
    teacher = value.shape[1] > width
    weights = MergeWeights(
        position=torch.cat([torch.cat([place.weight, place.bias[:, None]], dim=1), one]),
        value=value[:, :width],
        score=of_key[:, :width],
        teacher_value=value[:, width:] if teacher else None,
        teacher_score=of_key[:, width:] if teacher else None,
        place_value=of_place,
        place_score=score.weight @ of_place + only_bias,
        weight=last_score.weight * math.log2(math.e),
    )
    return weights, behind_norm(block.attention_norm, score.weight @ block.query.weight, None)
