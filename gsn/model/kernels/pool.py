"""The maximum over the views that see a sample: the first token of every sample."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import MASKED, cells, load_cells, padded, rows_of, sees, store_cells

_ROWS = 32


@triton.jit
def _pool_forward(
    h_ptr: tl.tensor, visible_ptr: tl.tensor, y_ptr: tl.tensor, which_ptr: tl.tensor,
    seeing_ptr: tl.tensor, n_rows: tl.tensor, n_views: tl.tensor, C: tl.constexpr, BC: tl.constexpr,
    B: tl.constexpr, ALL: tl.constexpr, LOW: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    columns = tl.arange(0, BC)
    best = tl.full([B, BC], LOW, tl.float32)
    which = tl.full([B, BC], -1, tl.int32)
    seeing = tl.zeros([B], tl.float32)
    at = first
    for view in range(n_views):
        seen = sees(visible_ptr, at, rows, there)
        seeing += tl.where(seen, 1.0, 0.0)
        h = load_cells(h_ptr, at, rows, there, columns, C, C).to(tl.float32)
        better = h > best
        if not ALL:
            better = better & seen[:, None]
        best = tl.where(better, h, best)
        which = tl.where(better, view, which)
        at += n_rows
    best = tl.where(which >= 0, best, 0.0)
    store_cells(y_ptr, first, rows, there, columns, C, best, C)
    store_cells(which_ptr, first, rows, there, columns, C, which, C)
    tl.store(seeing_ptr + first + rows, seeing, mask=there)


@triton.jit
def _pool_backward(
    dy_ptr: tl.tensor, which_ptr: tl.tensor, later_ptr: tl.tensor, dh_ptr: tl.tensor,
    n_rows: tl.tensor, n_views: tl.tensor, C: tl.constexpr, BC: tl.constexpr, B: tl.constexpr,
    LATER: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    columns = tl.arange(0, BC)
    dy = load_cells(dy_ptr, first, rows, there, columns, C, C).to(tl.float32)
    mask = there[:, None] & (columns[None, :] < C)
    which = tl.load(cells(which_ptr, first, rows, columns, C), mask=mask, other=-1)
    at = first
    for view in range(n_views):
        dh = tl.where(which == view, dy, 0.0)
        if LATER:
            dh += load_cells(later_ptr, at, rows, there, columns, C, C).to(tl.float32)
        store_cells(dh_ptr, at, rows, there, columns, C, dh, C)
        at += n_rows


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, observations: Tensor, visible: Tensor, parity: bool) -> Any:
        n_views, n_rows, channels = observations.shape
        pooled = observations.new_empty(n_rows, channels)
        which = torch.empty(n_rows, channels, device=pooled.device, dtype=torch.int16)
        seeing = torch.empty(n_rows, device=pooled.device)
        sizes = {"C": channels, "BC": padded(channels), "B": _ROWS}
        _pool_forward[(triton.cdiv(n_rows, _ROWS),)](
            *(observations, visible, pooled, which, seeing, n_rows, n_views),
            **sizes,
            ALL=parity,
            LOW=MASKED,
        )
        ctx.save_for_backward(which)
        ctx.n_views, ctx.sizes = n_views, sizes
        ctx.mark_non_differentiable(seeing)
        ctx.set_materialize_grads(False)
        return pooled, seeing, observations

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, _: None, later: Tensor | None) -> Any:
        if dy is None:
            return later, None, None
        (which,) = ctx.saved_tensors
        n_rows, channels = which.shape
        dh = dy.new_empty(ctx.n_views, n_rows, channels)
        later = None if later is None else later.contiguous()
        _pool_backward[(triton.cdiv(n_rows, _ROWS),)](
            *(dy.contiguous(), which, later, dh, n_rows, ctx.n_views),
            **ctx.sizes,
            LATER=later is not None,
        )
        return dh, None, None


def pool(
    observations: Tensor,  # (V, N, C)
    visible: Tensor,  # (V, N), above 0 where the view sees the sample
    parity: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # (N, C), (N,), (V, N, C)
    """Return the maximum, how many views see a sample, and the observations for later use.

    What is passed through gathers its gradient in one buffer, kernel by kernel.
    """
    pooled, seeing, passed = _Pool.apply(observations, visible, parity)  # type: ignore[no-untyped-call]
    return pooled, seeing, passed
