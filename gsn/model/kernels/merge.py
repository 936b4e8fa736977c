"""The attention of a view block: what V views say about a sample becomes one token.

Twin of the middle of `gsn.model.transformers.ViewTransformer`. Of its chain of linear layers only
products of weights are left (value of key: W_value W_key; the first layer of the score: 64 → 8), so
that keys, values, scores and weights of a view exist in registers alone. The backward pass makes
them again.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from gsn.model.kernels.common import (
    MASKED,
    ahead,
    dot_precision,
    kernel_dtype,
    n_programs,
    padded,
    threshold,
    zeros_like,
)
from gsn.model.kernels.merge_backward import merge_backward_input, merge_backward_weight
from gsn.model.kernels.merge_forward import merge_forward


class MergeWeights(NamedTuple):
    """Products of the weights of a view block; E is the width of its inner layers, C / 8.

    The hidden layer of the position has one more channel, which is 1: biases are weights of it.
    """

    position: Tensor  # (K, 5), from a ray difference and a 1 to the hidden layer of the position
    value: Tensor  # (C, F), from an observation
    score: Tensor  # (E, F), from an observation to the hidden layer of the score
    teacher_value: Tensor | None  # (C, D), from a teacher feature
    teacher_score: Tensor | None  # (E, D)
    place_value: Tensor  # (C, K), from the hidden layer of the position to the value
    place_score: Tensor  # (E, K), from there to the hidden layer of the score
    weight: Tensor  # (C, E), from the hidden layer of the score to log2 of the weights


class _Merge(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, observations: Tensor, teacher: Tensor | None, difference: Tensor, visible: Tensor,
        n_seeing: Tensor, query: Tensor, dropout: float, seed: Tensor | None, save: bool,
        *weights: Tensor | None,
    ) -> Any:  # fmt: skip
        n_views, n_rows, width = observations.shape
        query = query.contiguous()
        products: list[Any] = [None if part is None else part.contiguous() for part in weights]
        channels = 0 if teacher is None else teacher.shape[-1]
        merged = observations.new_empty(n_rows, width + channels)
        lse = torch.empty(n_rows if save else 1, width + channels, device=merged.device)
        hidden, inputs = products[0].shape  # of the position
        sizes = _sizes(query.shape[-1], width, channels, hidden, inputs, dropout, merged.dtype)
        block = padded(width + channels)
        launch = _launch(merged.dtype, block, stages=3)
        if block > launch["BN"] and merged.dtype == torch.bfloat16:
            launch |= {"B": 32, "num_warps": 2}
        blocks = triton.cdiv(width + channels, launch["BN"])
        read = (observations, teacher, difference, visible, query)
        given = (*read, *products, merged, lse, n_seeing)
        merge_forward[(triton.cdiv(n_rows, launch["B"]), blocks)](
            *(*given, seed, n_rows, n_views), **sizes, **launch, SAVE=save, LOW=MASKED
        )
        ctx.save_for_backward(*given, seed)
        ctx.sizes = sizes
        ctx.set_materialize_grads(False)
        return merged, observations

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, later: Tensor | None) -> Any:
        *given, seed = ctx.saved_tensors
        observations, teacher, difference, _, query, *weights, _, _, _ = given
        if dy is None:
            return later, *([None] * (8 + len(weights)))
        n_views, n_rows, _ = observations.shape
        width, position = dy.shape[-1], weights[0]
        dh, dquery = torch.empty_like(observations), torch.empty_like(query)
        dinner = query.new_empty(n_views, n_rows, query.shape[-1])
        dvalue = query.new_empty(n_views, n_rows, width)
        later = None if later is None else later.contiguous()
        dposition, *of_most, dweight = of_weights = zeros_like(*weights)
        block = padded(width)
        launch = _launch(dh.dtype, block, stages=2)
        per_processor = 2
        if block > launch["BN"] and dh.dtype == torch.bfloat16:
            # Tiles of 64 rows would leave shared memory for one program on a processor.
            launch["B"], per_processor = 16, 4
        tiles = triton.cdiv(n_rows, launch["B"])
        programs = n_programs(tiles, dy.device, per_processor=per_processor)
        merge_backward_input[(programs,)](
            *(*given, dy.contiguous(), later, dh, dquery, dinner, dvalue, dposition),
            *(dweight, seed, n_rows, n_views),
            **ctx.sizes,
            **launch,
            BC=block,
        )
        launch = _launch(dh.dtype, block, stages=2)
        blocks, tiles = triton.cdiv(width, launch["BN"]), triton.cdiv(n_views * n_rows, launch["B"])
        sizes = {name: size for name, size in ctx.sizes.items() if name != "P"}
        merge_backward_weight[(n_programs(tiles, dy.device, blocks), blocks)](
            *(observations, teacher, difference, position, dinner, dvalue, *of_most),
            n_views * n_rows,
            **sizes,
            **launch,
        )
        return dh, None, None, None, None, dquery, None, None, None, *of_weights


def _sizes(
    inner: int,
    width: int,
    channels: int,
    hidden: int,
    inputs: int,
    dropout: float,
    dtype: torch.dtype,
) -> dict[str, Any]:
    sizes: dict[str, Any] = {"E": inner, "F": width, "D": channels, "K": hidden, "R": inputs - 1}
    sizes |= {"BR": padded(inputs)} | {f"B{name}": padded(sizes[name]) for name in "EFDK"}
    sizes |= {"C": width + channels, "P": threshold(dropout)}
    return sizes | {"DT": kernel_dtype(dtype), "IP": dot_precision(dtype)}


def _launch(dtype: torch.dtype, width: int, stages: int) -> dict[str, int]:
    """Return rows and channels of a tile, and how a program is run, as measured on an H100."""
    if dtype == torch.float32:
        return {"B": 16, "BN": 16, "num_warps": 4, "num_stages": 1}
    return {"B": 64, "BN": min(64, width), "num_warps": 4, "num_stages": ahead(stages)}


def merge(
    observations: Tensor,  # (V, N, F)
    teacher: Tensor | None,  # (V, N, D), without gradient; C = F + D
    ray_difference: Tensor,  # (V, N, 4), without gradient
    visible: Tensor,  # (V, N), above 0 where the view sees the sample
    n_seeing: Tensor,  # (N,), how many do
    query: Tensor,  # (N, E), in the hidden layer of the score
    weights: MergeWeights,
    dropout: float = 0.0,
    seed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # (N, C), (V, N, F)
    """Return what attention makes of the views, and the observations, to be used from here on."""
    merged, passed = _Merge.apply(
        *(observations, teacher, ray_difference, visible, n_seeing, query, dropout, seed),
        torch.is_grad_enabled(),
        *weights,
    )  # type: ignore[no-untyped-call]
    return merged, passed
