"""What follows attention in a block, in one kernel; for rendering, which needs no gradient.

The output layer, the residual sum and the feed-forward: in between nothing is written. Training
does the same in two steps (`linear`, `mlp`), since it keeps what lies between them.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import (
    behind_norm,
    dot_precision,
    kernel_dtype,
    load_cells,
    normalise,
    padded,
    relu,
    rows_of,
    store_cells,
    tile_of,
)
from gsn.model.transformers import AttentionBlock


@triton.jit
def _tail_forward(
    token_ptr: tl.tensor, merged_ptr: tl.tensor, wo_ptr: tl.tensor, bo_ptr: tl.tensor,
    w1_ptr: tl.tensor, b1_ptr: tl.tensor, w2_ptr: tl.tensor, b2_ptr: tl.tensor, y_ptr: tl.tensor,
    n_rows: tl.tensor, C: tl.constexpr, HD: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr,
    B: tl.constexpr, EPS: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    c = tl.arange(0, BC)
    x = load_cells(token_ptr, first, rows, there, c, C, C).to(tl.float32)
    merged = load_cells(merged_ptr, first, rows, there, c, C, C)
    wo = load_cells(wo_ptr, 0, c, c < C, c, C, C).to(DT)
    x = tl.dot(merged, tl.trans(wo), x, input_precision=IP)
    x += tl.load(bo_ptr + c, mask=c < C, other=0.0)[None, :]
    unit, _rstd = normalise(x, c, C, EPS)
    u = unit.to(DT)
    x += tl.load(b2_ptr + c, mask=c < C, other=0.0)[None, :]
    for start in range(0, HD, BH):
        hidden = start + tl.arange(0, BH)
        w1 = load_cells(w1_ptr, 0, hidden, hidden < HD, c, C, C).to(DT)
        before = tl.dot(u, tl.trans(w1), input_precision=IP)
        before += tl.load(b1_ptr + hidden, mask=hidden < HD, other=0.0)[None, :]
        w2 = load_cells(w2_ptr, 0, c, c < C, hidden, HD, HD).to(DT)
        x = tl.dot(relu(before).to(DT), tl.trans(w2), x, input_precision=IP)
    store_cells(y_ptr, first, rows, there, c, C, x, C)


@torch.no_grad()
def tail(
    block: AttentionBlock,
    token: Tensor,  # (N, C)
    merged: Tensor,  # (N, C)
) -> Tensor:  # (N, C)
    """Return what `AttentionBlock.add_to` returns, without dropout."""
    n_rows, width = token.shape
    hidden = block.feed.grow.out_features
    y = torch.empty_like(token)
    sizes: dict[str, Any] = {"C": width, "HD": hidden, "BC": padded(width)}
    sizes |= {"BH": min(64, padded(hidden)), "EPS": block.feed_norm.eps}
    sizes |= {"DT": kernel_dtype(token.dtype), "IP": dot_precision(token.dtype)}
    tile = tile_of(sizes["BC"], token.dtype)
    _tail_forward[(triton.cdiv(n_rows, tile["B"]),)](
        *(token, merged, block.output.weight, block.output.bias),
        *behind_norm(block.feed_norm, block.feed.grow.weight, block.feed.grow.bias),
        *(block.feed.shrink.weight, block.feed.shrink.bias, y, n_rows),
        **sizes,
        **tile,
    )
    return y
