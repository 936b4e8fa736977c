"""Attention among the samples of a ray, read from and written to the rows that the layers use.

Twin of the middle of `gsn.model.transformers.RayTransformer`. Heads are so narrow that the time
goes into the weights, not into the products: a weight is 2 to the power of a score, made while keys
are read (Milakov and Gimelshein, arXiv 1805.02867), and once more in the backward pass, for the
gradients of query, key and value together.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import (
    MASKED,
    UNIT,
    dot_precision,
    keep,
    kernel_dtype,
    load_cells,
    padded,
    rows_of,
    seed_of,
    store_cells,
    threshold,
)


@triton.jit
def _ray_and_head(part: tl.tensor, H: tl.constexpr, S: tl.constexpr) -> tl.tensor:
    """Return the first row of a ray (64 bits) and the head."""
    return (tl.zeros([], tl.int64) + part // H) * S, part % H


@triton.jit
def _usable(used_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor) -> tl.tensor:
    """Return which samples of a tile others may look at."""
    if used_ptr is None:
        return there
    else:
        return tl.load(used_ptr + first + rows, mask=there, other=0) != 0


@triton.jit
def _dropout(
    seed: tl.tensor, tile: tl.tensor, rows: tl.tensor, B: tl.constexpr, P: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return what dropout multiplies a tile of weights by."""
    return tl.where(keep(seed, tile * B, rows, rows, P), 1.0 / (1.0 - P * UNIT), 0.0)


@triton.jit
def _attend_forward(
    x_ptr: tl.tensor, used_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor,
    seed_ptr: tl.tensor, H: tl.constexpr, W: tl.constexpr, BW: tl.constexpr, S: tl.constexpr,
    B: tl.constexpr, SCALE: tl.constexpr, LOW: tl.constexpr, SAVE: tl.constexpr, P: tl.constexpr,
    DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Attend from a tile of the queries of a ray, in one head."""
    tiles: tl.constexpr = (S + B - 1) // B
    part = tl.program_id(0) // tiles
    ray, head = _ray_and_head(part, H, S)
    x_ptr += head * W
    query_first, rows, asks = rows_of(tl.program_id(0) % tiles, S, B)
    column = tl.arange(0, BW)
    query = load_cells(x_ptr, ray + query_first, rows, asks, column, 3 * H * W, W)
    seed = seed_of(seed_ptr, P)
    highest = tl.full([B], LOW, tl.float32)
    total = tl.zeros([B], tl.float32)
    merged = tl.zeros([B, BW], tl.float32)
    for tile in range(tiles):
        key_first, _rows, there = rows_of(tile, S, B)
        first = ray + key_first
        key = load_cells(x_ptr + H * W, first, rows, there, column, 3 * H * W, W)
        value = load_cells(x_ptr + 2 * H * W, first, rows, there, column, 3 * H * W, W)
        score = tl.dot(query, tl.trans(key), input_precision=IP) * SCALE
        # Not a choice but a sum: it joins the multiplication, and -inf takes any score with it.
        usable = _usable(used_ptr, first, rows, there)
        score += tl.where(usable, 0.0, float("-inf"))[None, :]
        higher = tl.maximum(highest, tl.max(score, axis=1))
        rescale = tl.exp2(highest - higher)
        weight = tl.exp2(score - higher[:, None])
        total = total * rescale + tl.sum(weight, axis=1)
        if P > 0:
            weight *= _dropout(seed, tl.program_id(0) * tiles + tile, rows, B, P)
        merged = tl.dot(weight.to(DT), value, merged * rescale[:, None], input_precision=IP)
        highest = higher
    # Of a ray without usable samples nothing is merged: zero, not zero divided by zero.
    total = tl.where(total > 0, total, 1.0)
    merged *= (1.0 / total)[:, None]
    store_cells(y_ptr + head * W, ray + query_first, rows, asks, column, H * W, merged, W)
    if SAVE:
        lse_ptr += (tl.zeros([], tl.int64) + part) * S + query_first
        tl.store(lse_ptr + rows, highest + tl.log2(total), mask=asks)


@triton.jit
def _load_queries(
    x_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor, dy_ptr: tl.tensor, ray: tl.tensor,
    tile: tl.constexpr, column: tl.tensor, H: tl.constexpr, W: tl.constexpr, S: tl.constexpr,
    B: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return a tile of queries, the gradient of what they merged, its part along that, and lse."""
    first, rows, asks = rows_of(tile, S, B)
    query = load_cells(x_ptr, ray + first, rows, asks, column, 3 * H * W, W)
    y = load_cells(y_ptr, ray + first, rows, asks, column, H * W, W).to(tl.float32)
    dy = load_cells(dy_ptr, ray + first, rows, asks, column, H * W, W)
    along = tl.sum(dy.to(tl.float32) * y, axis=1)
    return query, dy, along, tl.load(lse_ptr + first + rows, mask=asks, other=0.0)


@triton.jit
def _weights(
    query: tl.tensor, key: tl.tensor, value: tl.tensor, dy: tl.tensor, along: tl.tensor,
    lse: tl.tensor, factor: tl.tensor, SCALE: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the weights of a tile after dropout, and the gradients of its scores.

    Of an unusable key the score may be far above lse: the bound keeps its weight finite, and
    nothing becomes of it, for the key is zero here and its own gradients are not stored.
    """
    score = tl.dot(query, tl.trans(key), input_precision=IP) * SCALE - lse[:, None]
    dweight = tl.dot(dy, tl.trans(value), input_precision=IP)
    weight = tl.exp2(tl.minimum(score, 1.0))
    given = weight * factor
    return given.to(DT), (weight * (dweight * factor - along[:, None])).to(DT)


@triton.jit
def _attend_backward(
    x_ptr: tl.tensor, used_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor, dy_ptr: tl.tensor,
    dx_ptr: tl.tensor, seed_ptr: tl.tensor, H: tl.constexpr, W: tl.constexpr, BW: tl.constexpr,
    S: tl.constexpr, B: tl.constexpr, SCALE: tl.constexpr, P: tl.constexpr, DT: tl.constexpr,
    IP: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradients of all queries, keys and values of a ray in one head.

    The queries of the ray are loaded once, and the sums of their gradients stay in registers:
    right for some hundred samples; the sums of more spill into local memory, which is only slower.
    """
    LN2: tl.constexpr = 0.6931471805599453  # weights are powers of 2
    tiles: tl.constexpr = (S + B - 1) // B
    ray, head = _ray_and_head(tl.program_id(0), H, S)
    x_ptr, dx_ptr = x_ptr + head * W, dx_ptr + head * W
    y_ptr, dy_ptr = y_ptr + head * W, dy_ptr + head * W
    lse_ptr += (tl.zeros([], tl.int64) + tl.program_id(0)) * S
    column, rows = tl.arange(0, BW), tl.arange(0, B)
    queries: tl.tuple = ()
    dqueries: tl.tuple = ()
    seed = seed_of(seed_ptr, P)
    for q in tl.static_range(tiles):
        queries += (_load_queries(x_ptr, y_ptr, lse_ptr, dy_ptr, ray, q, column, H, W, S, B),)
        dqueries += (tl.zeros([B, BW], tl.float32),)
    for tile in range(tiles):
        key_first, _rows, there = rows_of(tile, S, B)
        first = ray + key_first
        usable = _usable(used_ptr, first, rows, there)
        key = load_cells(x_ptr + H * W, first, rows, usable, column, 3 * H * W, W)
        value = load_cells(x_ptr + 2 * H * W, first, rows, usable, column, 3 * H * W, W)
        dkey = tl.zeros([B, BW], tl.float32)
        dvalue = tl.zeros([B, BW], tl.float32)
        summed: tl.tuple = ()
        for q in tl.static_range(tiles):
            query, dy, along, lse = queries[q]
            factor = 1.0
            if P > 0:
                part = (tl.program_id(0) * tiles + q) * tiles + tile
                factor = _dropout(seed, part, rows, B, P)
            weight, dscore = _weights(query, key, value, dy, along, lse, factor, SCALE, DT, IP)
            dvalue = tl.dot(tl.trans(weight), dy, dvalue, input_precision=IP)
            dkey = tl.dot(tl.trans(dscore), query, dkey, input_precision=IP)
            summed += (tl.dot(dscore, key, dqueries[q], input_precision=IP),)
        dqueries = summed
        dkey = tl.where(usable[:, None], dkey * (SCALE * LN2), 0.0)
        dvalue = tl.where(usable[:, None], dvalue, 0.0)
        store_cells(dx_ptr + H * W, first, rows, there, column, 3 * H * W, dkey, W)
        store_cells(dx_ptr + 2 * H * W, first, rows, there, column, 3 * H * W, dvalue, W)
    for q in tl.static_range(tiles):
        first, _rows, asks = rows_of(q, S, B)
        dquery = dqueries[q] * (SCALE * LN2)
        store_cells(dx_ptr, ray + first, rows, asks, column, 3 * H * W, dquery, W)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        used: Tensor | None,
        heads: int,
        n_samples: int,
        dropout: float,
        seed: Tensor | None,
    ) -> Tensor:
        projected = projected.contiguous()
        used = None if used is None else used.contiguous()
        n_rows, width = projected.shape[0], projected.shape[1] // (3 * heads)
        save = ctx.needs_input_grad[0]
        merged = projected.new_empty(n_rows, heads * width)
        lse = torch.empty(n_rows * heads if save else 1, device=projected.device)
        wide = projected.dtype == torch.float32  # no tensor cores: small tiles
        sizes: dict[str, Any] = {"H": heads, "W": width, "BW": padded(width), "S": n_samples}
        sizes |= {"B": 32 if wide else 64, "SCALE": math.log2(math.e) * width**-0.5}
        sizes |= {"P": threshold(dropout), "num_warps": 4}
        sizes |= {"DT": kernel_dtype(projected.dtype), "IP": dot_precision(projected.dtype)}
        parts = n_rows // n_samples * heads
        _attend_forward[(parts * triton.cdiv(n_samples, sizes["B"]),)](
            projected, used, merged, lse, seed, **sizes, LOW=MASKED, SAVE=save
        )
        ctx.save_for_backward(projected, used, merged, lse, seed)
        ctx.sizes, ctx.parts = sizes, parts
        return merged

    @staticmethod
    def backward(
        ctx: Any,
        dy: Tensor,
    ) -> tuple[Tensor | None, ...]:
        projected, used, merged, lse, seed = ctx.saved_tensors
        dprojected = torch.empty_like(projected)
        _attend_backward[(ctx.parts,)](
            *(projected, used, merged, lse, dy.contiguous(), dprojected, seed),
            **ctx.sizes,
            maxnreg=_registers(ctx.sizes, projected.dtype),
        )
        return dprojected, None, None, None, None, None


def _registers(sizes: dict[str, Any], dtype: torch.dtype) -> int | None:
    """Return how many registers a thread of the backward pass may have; None: as it likes.

    With 168 three programs run on a processor at a time, with all that it likes (about 250) two. It
    costs some addresses in local memory; with more samples or wider heads it would be tiles.
    """
    sums = triton.cdiv(sizes["S"], sizes["B"]) * sizes["BW"]
    return 168 if dtype == torch.bfloat16 and sums <= 48 else None


def attend(
    projected: Tensor,  # (N, 3 C): query, key and value of every sample, heads side by side in each
    used: Tensor | None,  # (R, S), bool: samples that others may look at; None: all
    heads: int,
    n_samples: int,
    dropout: float = 0.0,
    seed: Tensor | None = None,  # needed with dropout
) -> Tensor:  # (N, C)
    """Return what every sample merges from those of its ray: dropout(softmax(q · k / √width)) · v.

    N = R S, rays come first. Where a ray has no used sample, nothing is merged: zero.
    """
    result: Tensor = _Attend.apply(projected, used, heads, n_samples, dropout, seed)  # type: ignore[no-untyped-call]
    return result
