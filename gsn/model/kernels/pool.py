"""The maximum over the views that see a sample: the first token of every sample.

What is first of all done with observations is last in the backward pass, so that the parts of their
gradient come together here.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import MASKED, cells, load_cells, padded, rows_of, sees, store_cells

_ROWS = 32
_SLOTS = 2  # colours are blended, and features


@dataclass(frozen=True)
class LateGradient:
    """Where later uses of observations leave parts of their gradient, which `pool` adds up.

    A part is a number for every view and sample times a row for every sample: by an order of
    magnitude less to write and read than the product, which is made where it is added. Autograd
    brings the numbers: they are the gradient of a slot, which has no other use and no memory. The
    rows wait here, without their history, for that leads back to `pool`.
    """

    slots: tuple[Tensor, ...]  # (V, N) each
    rows: list[Tensor]  # (N, C or more) of the slots in use

    def slot(self, row: Tensor) -> Tensor:  # (V, N)
        """Return a slot that was not used yet, for parts of this row, of which C channels count."""
        self.rows.append(row.detach())
        return self.slots[len(self.rows) - 1]


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
        better = (h > best) | (h != h)  # what is not a number is kept, as by torch
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
    dy_ptr: tl.tensor, which_ptr: tl.tensor, later_ptr: tl.tensor, scales_ptr: tl.tuple,
    rows_ptr: tl.tuple, strides: tl.tuple, dh_ptr: tl.tensor, n_rows: tl.tensor,
    n_views: tl.tensor, C: tl.constexpr, BC: tl.constexpr, B: tl.constexpr,
) -> None:  # fmt: skip
    """Add up the gradient of observations: of the maximum, of later use, and late parts."""
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    columns = tl.arange(0, BC)
    dy = tl.zeros([B, BC], tl.float32)
    if dy_ptr is not None:
        dy = load_cells(dy_ptr, first, rows, there, columns, C, C).to(tl.float32)
    mask = there[:, None] & (columns[None, :] < C)
    which = tl.load(cells(which_ptr, first, rows, columns, C), mask=mask, other=-1)
    late_rows: tl.tuple = ()
    for part in tl.static_range(len(scales_ptr)):
        row = load_cells(rows_ptr[part], first, rows, there, columns, strides[part], C)
        late_rows += (row.to(tl.float32),)
    at = first
    for view in range(n_views):
        dh = tl.where(which == view, dy, 0.0)
        for part in tl.static_range(len(scales_ptr)):
            scale = tl.load(scales_ptr[part] + at + rows, mask=there, other=0.0)
            dh += scale[:, None] * late_rows[part]
        if later_ptr is not None:
            dh += load_cells(later_ptr, at, rows, there, columns, C, C).to(tl.float32)
        store_cells(dh_ptr, at, rows, there, columns, C, dh, C)
        at += n_rows


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, observations: Tensor, visible: Tensor, parity: bool, rows: list[Tensor]
    ) -> Any:
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
        ctx.n_views, ctx.sizes, ctx.rows, ctx.dtype = n_views, sizes, rows, pooled.dtype
        ctx.mark_non_differentiable(seeing)
        ctx.set_materialize_grads(False)
        slots = (torch.empty((), device=pooled.device) for _ in range(_SLOTS))
        return pooled, seeing, observations, *(slot.expand(n_views, n_rows) for slot in slots)

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, _: None, later: Tensor | None, *of_slots: Any) -> Any:
        used = zip(of_slots, ctx.rows, strict=False)  # slots may be left
        parts = [(scale.contiguous(), row) for scale, row in used if scale is not None]
        if dy is None and not parts:
            return later, None, None, None
        (which,) = ctx.saved_tensors
        n_rows, channels = which.shape
        dh = which.new_empty(ctx.n_views, n_rows, channels, dtype=ctx.dtype)
        _pool_backward[(triton.cdiv(n_rows, _ROWS),)](
            None if dy is None else dy.contiguous(),
            which,
            None if later is None else later.contiguous(),
            tuple(scale for scale, _ in parts),
            tuple(row for _, row in parts),
            tuple(row.shape[1] for _, row in parts),
            *(dh, n_rows, ctx.n_views),
            **ctx.sizes,
        )
        return dh, None, None, None


def pool(
    observations: Tensor,  # (V, N, C)
    visible: Tensor,  # (V, N), above 0 where the view sees the sample
    parity: bool,
) -> tuple[Tensor, Tensor, Tensor, LateGradient]:  # (N, C), (N,), (V, N, C)
    """Return the maximum, how many views see a sample, and the observations for later use.

    What is passed through gathers its gradient in one buffer, kernel by kernel; what can be left
    late need not be written there.
    """
    rows: list[Tensor] = []
    pooled, seeing, passed, *slots = _Pool.apply(observations, visible, parity, rows)  # type: ignore[no-untyped-call]
    return pooled, seeing, passed, LateGradient(tuple(slots), rows)
