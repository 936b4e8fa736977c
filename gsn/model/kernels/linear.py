"""One kernel for a linear layer with what stands around it: layer norm, dropout, residual."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import (
    cells,
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


@triton.jit
def _linear_forward(
    x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor, w_ptr: tl.tensor, b_ptr: tl.tensor,
    residual_ptr: tl.tensor, y_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor,
    CI: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, B: tl.constexpr,
    NORM: tl.constexpr, EPS: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    inner = tl.arange(0, BI)
    _x, u, _unit, _rstd = load_normed(
        x_ptr, gamma_ptr, beta_ptr, first, rows, there, inner, CI, CI, NORM, EPS
    )
    u = u.to(DT)
    for start in range(0, CO, BO):
        outer = start + tl.arange(0, BO)
        w = load_cells(w_ptr, 0, outer, outer < CO, inner, CI, CI).to(DT)
        y = tl.dot(u, tl.trans(w), input_precision=IP)
        if BIAS:
            y += tl.load(b_ptr + outer, mask=outer < CO, other=0.0)[None, :]
        if P > 0:
            y = drop(y, seed_ptr, first, rows, outer, CO, P)
        if RESIDUAL:
            y += load_cells(residual_ptr, first, rows, there, outer, CO, CO).to(tl.float32)
        store_cells(y_ptr, first, rows, there, outer, CO, y, CO)


@triton.jit
def _load_gradient(
    dy_ptr: tl.tensor, seed_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor,
    outer: tl.tensor, CO: tl.constexpr, P: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    dy = load_cells(dy_ptr, first, rows, there, outer, CO, CO).to(tl.float32)
    if P > 0:
        dy = drop(dy, seed_ptr, first, rows, outer, CO, P)
    return dy


@triton.jit
def _linear_backward_input(
    x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor, w_ptr: tl.tensor,
    dy_ptr: tl.tensor, dx_ptr: tl.tensor, dgamma_ptr: tl.tensor, dbeta_ptr: tl.tensor,
    seed_ptr: tl.tensor, n_rows: tl.tensor, CI: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr,
    BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr, P: tl.constexpr,
    DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    inner = tl.arange(0, BI)
    dgamma = tl.zeros([BI], tl.float32)
    dbeta = tl.zeros([BI], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        du = tl.zeros([B, BI], tl.float32)
        for start in range(0, CO, BO):
            outer = start + tl.arange(0, BO)
            w = load_cells(w_ptr, 0, outer, outer < CO, inner, CI, CI).to(DT)
            dy = _load_gradient(dy_ptr, seed_ptr, first, rows, there, outer, CO, P)
            du = tl.dot(dy.to(DT), w, du, input_precision=IP)
        if NORM:
            _x, _u, unit, rstd = load_normed(
                x_ptr, gamma_ptr, beta_ptr, first, rows, there, inner, CI, CI, NORM, EPS
            )
            dgamma += tl.sum(du * unit, axis=0)
            dbeta += tl.sum(du, axis=0)
            gamma = tl.load(gamma_ptr + inner, mask=inner < CI, other=0.0)
            du = normalise_backward(du * gamma[None, :], unit, rstd, CI)
        store_cells(dx_ptr, first, rows, there, inner, CI, du, CI)
    if NORM:
        tl.atomic_add(dgamma_ptr + inner, dgamma, mask=inner < CI)
        tl.atomic_add(dbeta_ptr + inner, dbeta, mask=inner < CI)


@triton.jit
def _linear_backward_weight(
    x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor, dy_ptr: tl.tensor,
    dw_ptr: tl.tensor, db_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor, CI: tl.constexpr,
    CO: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr,
    EPS: tl.constexpr, BIAS: tl.constexpr, P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    inner = tl.arange(0, BI)
    outer = tl.program_id(1) * BO + tl.arange(0, BO)
    dw = tl.zeros([BO, BI], tl.float32)
    db = tl.zeros([BO], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        _x, u, _unit, _rstd = load_normed(
            x_ptr, gamma_ptr, beta_ptr, first, rows, there, inner, CI, CI, NORM, EPS
        )
        dy = _load_gradient(dy_ptr, seed_ptr, first, rows, there, outer, CO, P)
        dw = tl.dot(tl.trans(dy.to(DT)), u.to(DT), dw, input_precision=IP)
        db += tl.sum(dy, axis=0)
    mask = (outer[:, None] < CO) & (inner[None, :] < CI)
    tl.atomic_add(cells(dw_ptr, 0, outer, inner, CI), dw, mask=mask)
    if BIAS:
        tl.atomic_add(db_ptr + outer, db, mask=outer < CO)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, norm_weight: Tensor | None, norm_bias: Tensor | None, weight: Tensor,
        bias: Tensor | None, residual: Tensor | None, eps: float, dropout: float,
        seed: Tensor | None, dtype: torch.dtype | None,
    ) -> Tensor:  # fmt: skip
        x, weight = x.contiguous(), weight.contiguous()
        n_out, n_in = weight.shape
        n_rows = x.numel() // n_in
        y = x.new_empty(*x.shape[:-1], n_out, dtype=dtype or x.dtype)
        sizes: dict[str, Any] = {"CI": n_in, "CO": n_out, "BI": padded(n_in)}
        sizes |= {"BO": min(64, padded(n_out))} | tile_of(padded(n_in), x.dtype)
        sizes |= {"NORM": norm_weight is not None, "EPS": eps, "P": threshold(dropout)}
        sizes |= {"DT": kernel_dtype(x.dtype), "IP": dot_precision(x.dtype)}
        _linear_forward[(triton.cdiv(n_rows, sizes["B"]),)](
            *(x, norm_weight, norm_bias, weight, bias, residual, y, seed, n_rows),
            **sizes,
            BIAS=bias is not None,
            RESIDUAL=residual is not None,
        )
        ctx.save_for_backward(x, norm_weight, norm_bias, weight, bias, seed)
        ctx.sizes, ctx.has_residual = sizes, residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, norm_weight, norm_bias, weight, bias, seed = ctx.saved_tensors
        dy, sizes = dy.contiguous(), ctx.sizes
        n_rows = x.numel() // sizes["CI"]
        dgamma, dbeta, dw, db = zeros_like(norm_weight, norm_bias, weight, bias)
        tiles = triton.cdiv(n_rows, sizes["B"])
        dx = None
        if ctx.needs_input_grad[0]:
            dx = torch.empty_like(x)
            _linear_backward_input[(n_programs(tiles, x.device, per_processor=4),)](
                *(x, norm_weight, norm_bias, weight, dy, dx, dgamma, dbeta, seed),
                n_rows,
                **sizes,
            )
        chunks = triton.cdiv(sizes["CO"], sizes["BO"])
        _linear_backward_weight[(n_programs(tiles, x.device, chunks), chunks)](
            *(x, norm_weight, norm_bias, dy, dw, db, seed, n_rows),
            **sizes,
            BIAS=bias is not None,
        )
        residual = dy if ctx.has_residual else None
        return dx, dgamma, dbeta, dw, db, residual, None, None, None, None


def linear(
    x: Tensor,  # (..., CI)
    weight: Tensor,  # (CO, CI), float32
    bias: Tensor | None = None,  # (CO,)
    norm: torch.nn.LayerNorm | None = None,
    residual: Tensor | None = None,  # (..., CO)
    dropout: float = 0.0,
    seed: Tensor | None = None,  # needed with dropout
    dtype: torch.dtype | None = None,  # of the result; None: that of x
) -> Tensor:  # (..., CO)
    """Return residual + dropout(weight · norm(x) + bias); whatever is None is left out."""
    eps = 0.0 if norm is None else norm.eps
    scale, shift = (None, None) if norm is None else (norm.weight, norm.bias)
    result: Tensor = _Linear.apply(
        x, scale, shift, weight, bias, residual, eps, dropout, seed, dtype
    )  # type: ignore[no-untyped-call]
    return result


def weight_gradient(
    x: Tensor,  # (N, CI)
    dy: Tensor,  # (N, CO)
) -> tuple[Tensor, Tensor]:  # (CO, CI), (CO,), float32
    """Return the gradients of weight and bias of a linear layer."""
    n_rows, n_in = x.shape
    n_out = dy.shape[1]
    dw, db = zeros_like(x.new_empty(n_out, n_in), x.new_empty(n_out))
    outer, tile = min(64, padded(n_out)), tile_of(64, x.dtype, stages=2)
    chunks, tiles = triton.cdiv(n_out, outer), triton.cdiv(n_rows, tile["B"])
    sizes: dict[str, Any] = {"CI": n_in, "CO": n_out, "BI": padded(n_in), "BO": outer, "P": 0}
    sizes |= tile
    sizes |= {"DT": kernel_dtype(x.dtype), "IP": dot_precision(x.dtype)}
    _linear_backward_weight[(n_programs(tiles, x.device, chunks), chunks)](
        *(x, None, None, dy, dw, db, None, n_rows), **sizes, NORM=False, EPS=0.0, BIAS=True
    )
    return dw, db
