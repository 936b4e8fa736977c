"""One kernel for a linear layer with what stands around it: layer norm, dropout, residual."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.choice import roomy
from gsn.model.kernels.common import (
    add_cells,
    add_sums,
    dot_precision,
    drop,
    kernel_dtype,
    load_cells,
    load_normed,
    n_programs,
    normalise_backward,
    padded,
    rows_of,
    store_cells,
    threshold,
    tile_of,
    zeros_like,
)

_MOST_SUMS = 64 * 192  # gradients of weights that a program has registers for, beside its tile


@triton.jit
def _linear_forward(
    x_ptr: tl.tensor, w_ptr: tl.tensor, b_ptr: tl.tensor, residual_ptr: tl.tensor, y_ptr: tl.tensor,
    seed_ptr: tl.tensor, n_rows: tl.tensor, CI: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr,
    BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr, BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr, P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    inner = tl.arange(0, BI)
    _x, u, _rstd = load_normed(x_ptr, first, rows, there, inner, CI, NORM, EPS)
    u = u.to(DT)
    for start in range(0, CO, BO):
        outer = start + tl.arange(0, BO)
        w = load_cells(w_ptr, 0, outer, outer < CO, inner, CI, CI).to(DT)
        y = tl.dot(u, tl.trans(w), input_precision=IP)
        if BIAS:
            y += tl.load(b_ptr + outer, mask=outer < CO, other=0.0)[None, :]
        if P > 0:
            y = drop(y, seed_ptr, first, rows, outer, P)
        if RESIDUAL:
            y += load_cells(residual_ptr, first, rows, there, outer, CO, CO).to(tl.float32)
        store_cells(y_ptr, first, rows, there, outer, CO, y, CO)


@triton.jit
def _linear_backward(
    x_ptr: tl.tensor, w_ptr: tl.tensor, dy_ptr: tl.tensor, later_ptr: tl.tensor, dx_ptr: tl.tensor,
    dw_ptr: tl.tensor, db_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor, CI: tl.constexpr,
    CO: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, PARTS: tl.constexpr, B: tl.constexpr,
    NORM: tl.constexpr, EPS: tl.constexpr, BIAS: tl.constexpr, INPUT: tl.constexpr,
    WEIGHT: tl.constexpr, HELD: tl.constexpr, P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of x (INPUT), sum those of the weights over a share of the rows (WEIGHT).

    A program takes PARTS · BO outputs: all of them, if it writes the gradient of x. Their weights
    are HELD in shared memory where it has room.
    """
    inner = tl.arange(0, BI)
    start = tl.program_id(1) * PARTS * BO
    ones = tl.full([B, 16], 1.0, DT)
    weights: tl.tuple = ()
    sums: tl.tuple = ()
    for part in tl.static_range(PARTS):
        outer = start + part * BO + tl.arange(0, BO)
        if INPUT and HELD:
            weights += (load_cells(w_ptr, 0, outer, outer < CO, inner, CI, CI).to(DT),)
        if WEIGHT:
            sums += ((tl.zeros([BO, BI], tl.float32), tl.zeros([BO, 16], tl.float32)),)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        _x, u, rstd = load_normed(x_ptr, first, rows, there, inner, CI, NORM, EPS)
        du = tl.zeros([B, BI], tl.float32)
        summed: tl.tuple = ()
        for part in tl.static_range(PARTS):
            outer = start + part * BO + tl.arange(0, BO)
            dy = load_cells(dy_ptr, first, rows, there, outer, CO, CO)
            if P > 0:
                dy = drop(dy.to(tl.float32), seed_ptr, first, rows, outer, P)
            dy = dy.to(DT)
            if INPUT and HELD:
                du = tl.dot(dy, weights[part], du, input_precision=IP)
            elif INPUT:
                w = load_cells(w_ptr, 0, outer, outer < CO, inner, CI, CI).to(DT)
                du = tl.dot(dy, w, du, input_precision=IP)
            if WEIGHT:
                dw, db = sums[part]
                if BIAS:
                    db = tl.dot(tl.trans(dy), ones, db, input_precision=IP)
                dw = tl.dot(tl.trans(dy), u.to(DT), dw, input_precision=IP)
                summed += ((dw, db),)
        sums = summed
        if INPUT:
            if NORM:
                du = normalise_backward(du, u, rstd, CI)
            if later_ptr is not None:
                du += load_cells(later_ptr, first, rows, there, inner, CI, CI).to(tl.float32)
            store_cells(dx_ptr, first, rows, there, inner, CI, du, CI)
    if WEIGHT:
        for part in tl.static_range(PARTS):
            dw, db = sums[part]
            outer = start + part * BO + tl.arange(0, BO)
            add_cells(dw_ptr, outer, inner, dw, CO, CI)
            if BIAS:
                add_sums(db_ptr, outer, db, CO)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None,
        eps: float | None, dropout: float, seed: Tensor | None, dtype: torch.dtype | None,
    ) -> Any:  # fmt: skip
        x, weight = x.contiguous(), weight.contiguous()
        n_out, n_in = weight.shape
        n_rows = x.numel() // n_in
        y = x.new_empty(*x.shape[:-1], n_out, dtype=dtype or x.dtype)
        sizes: dict[str, Any] = {"CI": n_in, "CO": n_out, "BI": padded(n_in)}
        sizes |= {"BO": min(64, padded(n_out)), "NORM": eps is not None, "EPS": eps or 0.0}
        sizes |= {"BIAS": bias is not None, "P": threshold(dropout)}
        sizes |= {"DT": kernel_dtype(x.dtype), "IP": dot_precision(x.dtype)}
        tile = tile_of(padded(n_in), x.dtype)
        _linear_forward[(triton.cdiv(n_rows, tile["B"]),)](
            *(x, weight, bias, residual, y, seed, n_rows),
            **sizes,
            **tile,
            RESIDUAL=residual is not None,
        )
        ctx.save_for_backward(x, weight, bias, seed)
        ctx.sizes, ctx.has_residual = sizes, residual is not None
        ctx.set_materialize_grads(False)
        return y, x

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, later: Tensor | None) -> Any:
        if dy is None:
            return later, *([None] * 7)
        x, weight, bias, seed = ctx.saved_tensors
        dy, sizes = dy.contiguous(), ctx.sizes
        later = None if later is None else later.contiguous()
        n_rows, needed = x.numel() // sizes["CI"], ctx.needs_input_grad[0]
        dw, db = zeros_like(weight, bias)
        dx = torch.empty_like(x) if needed else None
        parts = triton.cdiv(sizes["CO"], sizes["BO"])
        together = parts * sizes["BO"] * sizes["BI"] <= _MOST_SUMS
        # What is asked for, in how many parts: both at once if registers allow.
        passes = [(needed, True, parts)] if together else [(False, True, 1)]
        if needed and not together:
            passes.append((True, False, parts))
        for of_input, of_weight, at_once in passes:
            tile = tile_of(sizes["BI"], x.dtype, warps=8 if of_weight else 4)
            tiles, beside = triton.cdiv(n_rows, tile["B"]), parts // at_once
            programs = n_programs(tiles, x.device, beside, per_processor=1 if together else 2)
            _linear_backward[(programs, beside)](
                *(x, weight, dy, later, dx, dw, db, seed, n_rows),
                **sizes,
                **tile,
                PARTS=at_once,
                INPUT=of_input,
                WEIGHT=of_weight,
                HELD=together or roomy(),
            )
        residual = dy if ctx.has_residual else None
        return dx, dw, db, residual, None, None, None, None


def linear(
    x: Tensor,  # (..., CI)
    weight: Tensor,  # (CO, CI), float32
    bias: Tensor | None = None,  # (CO,)
    eps: float | None = None,  # of a layer norm before it, see `behind_norm`; None: there is none
    residual: Tensor | None = None,  # (..., CO)
    dropout: float = 0.0,
    seed: Tensor | None = None,  # needed with dropout
    dtype: torch.dtype | None = None,  # of the result; None: that of x
) -> Tensor:  # (..., CO)
    """Return residual + dropout(weight · norm(x) + bias); whatever is None is left out."""
    result: Tensor
    result, _ = _Linear.apply(x, weight, bias, residual, eps, dropout, seed, dtype)  # type: ignore[no-untyped-call]
    return result


def linear_beside(
    x: Tensor,  # (..., CI)
    weight: Tensor,  # (CO, CI), float32
    bias: Tensor,  # (CO,)
    eps: float | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:  # (..., CO), (..., CI)
    """Return what `linear` does, and x, to be used from here on.

    What is passed through gathers its gradient in one buffer, kernel by kernel.
    """
    result, passed = _Linear.apply(x, weight, bias, None, eps, 0.0, None, dtype)  # type: ignore[no-untyped-call]
    return result, passed
