"""Averaging what the views show at a sample, weighted by how well a key of the view fits a query.

Twin of the views' part of `gsn.model.surface_blend.SurfaceBlend`. The key of a view is linear in
its observation, so the query is taken to the observations instead, once for each sample.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import MASKED, load_cells, padded, rows_of, sees, store_cells
from gsn.model.kernels.pool import LateGradient

_ROWS = 32


@triton.jit
def _score(
    h_ptr: tl.tensor, t_ptr: tl.tensor, difference_ptr: tl.tensor, visible_ptr: tl.tensor,
    query: tl.tensor, query_t: tl.tensor, near: tl.tensor, at: tl.tensor, rows: tl.tensor,
    there: tl.tensor, f: tl.tensor, d: tl.tensor, four: tl.tensor, F: tl.constexpr, D: tl.constexpr,
    LOW: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    h = load_cells(h_ptr, at, rows, there, f, F, F).to(tl.float32)
    difference = load_cells(difference_ptr, at, rows, there, four, 4, 4).to(tl.float32)
    seen = sees(visible_ptr, at, rows, there)
    score = tl.sum(h * query, axis=1) + tl.sum(difference * near, axis=1)
    t = h
    if D > 0:
        t = load_cells(t_ptr, at, rows, there, d, D, D).to(tl.float32)
        score += tl.sum(t * query_t, axis=1)
    return h, t, difference, seen, tl.where(seen, score, LOW)


@triton.jit
def _load_query(
    query_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor, f: tl.tensor,
    d: tl.tensor, four: tl.tensor, F: tl.constexpr, D: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Load the query of observation, teacher feature and ray difference, which lie in a row."""
    query = load_cells(query_ptr, first, rows, there, f, F + D + 4, F).to(tl.float32)
    query_t = query
    if D > 0:
        query_t = load_cells(query_ptr + F, first, rows, there, d, F + D + 4, D).to(tl.float32)
    near = load_cells(query_ptr + F + D, first, rows, there, four, F + D + 4, 4).to(tl.float32)
    return query, query_t, near


@triton.jit
def _blend_forward(
    h_ptr: tl.tensor, t_ptr: tl.tensor, difference_ptr: tl.tensor, colour_ptr: tl.tensor,
    visible_ptr: tl.tensor, query_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor,
    n_rows: tl.tensor, n_views: tl.tensor, F: tl.constexpr, D: tl.constexpr, BF: tl.constexpr,
    BD: tl.constexpr, Q: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, LOW: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    f, d, outer, four = tl.arange(0, BF), tl.arange(0, BD), tl.arange(0, BO), tl.arange(0, 4)
    query, query_t, near = _load_query(query_ptr, first, rows, there, f, d, four, F, D)
    highest = tl.full([B], LOW, tl.float32)
    total = tl.zeros([B], tl.float32)
    y = tl.zeros([B, BO], tl.float32)
    at = first
    for _view in range(n_views):
        _h, value, _difference, _seen, score = _score(
            h_ptr, t_ptr, difference_ptr, visible_ptr, query, query_t, near, at, rows, there, f,
            d, four, F, D, LOW,
        )  # fmt: skip
        if D == 0:
            value = load_cells(colour_ptr, at, rows, there, outer, 4, Q)
        higher = tl.maximum(highest, score)
        rescale = tl.exp(highest - higher)
        weight = tl.exp(score - higher)
        total = total * rescale + weight
        y = y * rescale[:, None] + weight[:, None] * value
        highest = higher
        at += n_rows
    store_cells(y_ptr, first, rows, there, outer, Q, y / total[:, None], Q)
    tl.store(lse_ptr + first + rows, highest + tl.log(total), mask=there)


@triton.jit
def _blend_backward(
    h_ptr: tl.tensor, t_ptr: tl.tensor, difference_ptr: tl.tensor, colour_ptr: tl.tensor,
    visible_ptr: tl.tensor, query_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor,
    dy_ptr: tl.tensor, dscore_ptr: tl.tensor, dquery_ptr: tl.tensor, n_rows: tl.tensor,
    n_views: tl.tensor, F: tl.constexpr, D: tl.constexpr, BF: tl.constexpr, BD: tl.constexpr,
    Q: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, LOW: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    f, d, outer, four = tl.arange(0, BF), tl.arange(0, BD), tl.arange(0, BO), tl.arange(0, 4)
    query, query_t, near = _load_query(query_ptr, first, rows, there, f, d, four, F, D)
    dy = load_cells(dy_ptr, first, rows, there, outer, Q, Q)
    along = tl.sum(dy * load_cells(y_ptr, first, rows, there, outer, Q, Q), axis=1)
    lse = tl.load(lse_ptr + first + rows, mask=there, other=0.0)
    dquery = tl.zeros([B, BF], tl.float32)
    dquery_t = tl.zeros([B, BD], tl.float32)
    dnear = tl.zeros([B, 4], tl.float32)
    at = first
    for _view in range(n_views):
        h, value, difference, seen, score = _score(
            h_ptr, t_ptr, difference_ptr, visible_ptr, query, query_t, near, at, rows, there, f,
            d, four, F, D, LOW,
        )  # fmt: skip
        if D == 0:
            value = load_cells(colour_ptr, at, rows, there, outer, 4, Q)
        weight = tl.where(seen, tl.exp(score - lse), 0.0)
        dscore = weight * (tl.sum(dy * value, axis=1) - along)
        dquery += dscore[:, None] * h
        if D > 0:
            dquery_t += dscore[:, None] * value
        dnear += dscore[:, None] * difference
        tl.store(dscore_ptr + at + rows, dscore, mask=there)
        at += n_rows
    store_cells(dquery_ptr, first, rows, there, f, F + D + 4, dquery, F)
    if D > 0:
        store_cells(dquery_ptr + F, first, rows, there, d, F + D + 4, dquery_t, D)
    store_cells(dquery_ptr + F + D, first, rows, there, four, F + D + 4, dnear, 4)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, observations: Tensor, teacher: Tensor | None, difference: Tensor,
        colour: Tensor, visible: Tensor, query: Tensor, slot: Tensor,
    ) -> Tensor:  # fmt: skip
        n_views, n_rows, width = observations.shape
        channels = 0 if teacher is None else teacher.shape[-1]
        blended = torch.empty(n_rows, channels or 3, device=query.device)
        lse = torch.empty(n_rows, device=query.device)
        sizes: dict[str, Any] = {"F": width, "D": channels, "Q": channels or 3}
        sizes |= {"BF": padded(width), "BD": padded(channels)}
        sizes |= {"BO": padded(channels) if channels else 4, "B": _ROWS, "LOW": MASKED}
        given = (observations, teacher, difference, colour, visible, query, blended, lse)
        _blend_forward[(triton.cdiv(n_rows, _ROWS),)](*given, n_rows, n_views, **sizes)
        ctx.save_for_backward(*given)
        ctx.sizes = sizes
        return blended

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        given = ctx.saved_tensors
        n_views, n_rows, _ = given[0].shape
        query = given[5]
        dscore, dquery = dy.new_empty(n_views, n_rows), torch.empty_like(query)
        _blend_backward[(triton.cdiv(n_rows, _ROWS),)](
            *(*given, dy.contiguous(), dscore, dquery, n_rows, n_views), **ctx.sizes
        )
        return *([None] * 5), dquery, dscore


def blend(
    observations: Tensor,  # (V, N, F)
    teacher: Tensor | None,  # (V, N, D), without gradient
    ray_difference: Tensor,  # (V, N, 4)
    colour: Tensor,  # (V, N, 4): RGB and anything
    visible: Tensor,  # (V, N), above 0 where the view sees the sample
    query: Tensor,  # (N, F + D + 4), of observations, teacher features and ray differences
    late: LateGradient,  # of the pooling of these observations, which takes their gradient
) -> Tensor:  # (N, D), float32
    """Return the weighted mean of the teacher features, without them of the colours, (N, 3).

    Of a sample that no view sees it is zero, as all of them are.
    """
    query = query.contiguous()
    given = observations, teacher, ray_difference, colour, visible, query, late.slot(query)
    blended: Tensor = _Blend.apply(*given)  # type: ignore[no-untyped-call]
    return blended
