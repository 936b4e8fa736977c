"""One kernel for two linear layers with a ReLU between them; the hidden layer is never in memory.

The feed-forward of a block, and the networks that embed observations, positions and directions.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

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
from gsn.model.kernels.linear import weight_gradient


@triton.jit
def _hidden(
    u: tl.tensor, w1_ptr: tl.tensor, b1_ptr: tl.tensor, extra_ptr: tl.tensor, first: tl.tensor,
    rows: tl.tensor, there: tl.tensor, inner: tl.tensor, hidden: tl.tensor, group: tl.tensor,
    w1_stride: tl.tensor, CI: tl.constexpr, HD: tl.constexpr, EXTRA: tl.constexpr, DT: tl.constexpr,
    IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return a part of the hidden layer before its ReLU, and the weights that made it."""
    w1 = load_cells(w1_ptr, 0, hidden, hidden < HD, inner, w1_stride, CI).to(DT)
    before = tl.dot(u, tl.trans(w1), input_precision=IP)
    before += tl.load(b1_ptr + hidden, mask=hidden < HD, other=0.0)[None, :]
    if EXTRA == 1:
        before += load_cells(extra_ptr, first, rows, there, hidden, HD, HD).to(tl.float32)
    if EXTRA == 2:
        groups = ((first + rows) // group).to(tl.int32)
        before += load_cells(extra_ptr, 0, groups, there, hidden, HD, HD).to(tl.float32)
    return before, w1


@triton.jit
def _mlp_forward(
    x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor, w1_ptr: tl.tensor,
    b1_ptr: tl.tensor, extra_ptr: tl.tensor, w2_ptr: tl.tensor, b2_ptr: tl.tensor, y_ptr: tl.tensor,
    seed_ptr: tl.tensor, n_rows: tl.tensor, group: tl.tensor, x_stride: tl.tensor,
    w1_stride: tl.tensor, CI: tl.constexpr, HD: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr,
    BH: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    EXTRA: tl.constexpr, RESIDUAL: tl.constexpr, P: tl.constexpr, DT: tl.constexpr,
    IP: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    inner, outer = tl.arange(0, BI), tl.arange(0, BO)
    x, u, _unit, _rstd = load_normed(
        x_ptr, gamma_ptr, beta_ptr, first, rows, there, inner, x_stride, CI, NORM, EPS
    )
    u = u.to(DT)
    y = tl.zeros([B, BO], tl.float32)
    for start in range(0, HD, BH):
        hidden = start + tl.arange(0, BH)
        before, _w1 = _hidden(
            u, w1_ptr, b1_ptr, extra_ptr, first, rows, there, inner, hidden, group, w1_stride,
            CI, HD, EXTRA, DT, IP,
        )  # fmt: skip
        after = tl.maximum(before, 0.0)
        if P > 0:
            after = drop(after, seed_ptr, first, rows, hidden, HD, P)
        w2 = load_cells(w2_ptr, 0, outer, outer < CO, hidden, HD, HD).to(DT)
        y = tl.dot(after.to(DT), tl.trans(w2), y, input_precision=IP)
    y += tl.load(b2_ptr + outer, mask=outer < CO, other=0.0)[None, :]
    if P > 0:
        y = drop(y, seed_ptr + 1, first, rows, outer, CO, P)
    if RESIDUAL:
        y += x
    store_cells(y_ptr, first, rows, there, outer, CO, y, CO)


@triton.jit
def _hidden_gradient(
    before: tl.tensor, dy: tl.tensor, w2_ptr: tl.tensor, seed_ptr: tl.tensor, first: tl.tensor,
    rows: tl.tensor, hidden: tl.tensor, outer: tl.tensor, HD: tl.constexpr, CO: tl.constexpr,
    P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the gradient before the ReLU, and what came out of it."""
    w2 = load_cells(w2_ptr, 0, outer, outer < CO, hidden, HD, HD).to(DT)
    gradient = tl.dot(dy, w2, input_precision=IP)
    after = tl.maximum(before, 0.0)
    if P > 0:
        after = drop(after, seed_ptr, first, rows, hidden, HD, P)
        gradient = drop(gradient, seed_ptr, first, rows, hidden, HD, P)
    return tl.where(before > 0, gradient, 0.0), after


@triton.jit
def _output_gradient(
    dy_ptr: tl.tensor, seed_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor,
    outer: tl.tensor, CO: tl.constexpr, P: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the gradient of the output before and after its dropout."""
    raw = load_cells(dy_ptr, first, rows, there, outer, CO, CO).to(tl.float32)
    dy = raw
    if P > 0:
        dy = drop(raw, seed_ptr + 1, first, rows, outer, CO, P)
    return raw, dy


@triton.jit
def _mlp_backward_input(
    x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor, w1_ptr: tl.tensor,
    b1_ptr: tl.tensor, extra_ptr: tl.tensor, w2_ptr: tl.tensor, dy_ptr: tl.tensor,
    dx_ptr: tl.tensor, gradient_ptr: tl.tensor, after_ptr: tl.tensor, u_ptr: tl.tensor,
    dropped_ptr: tl.tensor, dgamma_ptr: tl.tensor, dbeta_ptr: tl.tensor, db2_ptr: tl.tensor,
    seed_ptr: tl.tensor, n_rows: tl.tensor, group: tl.tensor, x_stride: tl.tensor,
    w1_stride: tl.tensor, CI: tl.constexpr, HD: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr,
    BH: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    EXTRA: tl.constexpr, RESIDUAL: tl.constexpr, STORE: tl.constexpr, P: tl.constexpr,
    DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of x and, if asked to, what those of the weights are products of."""
    inner, outer = tl.arange(0, BI), tl.arange(0, BO)
    dgamma = tl.zeros([BI], tl.float32)
    dbeta = tl.zeros([BI], tl.float32)
    db2 = tl.zeros([BO], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        _x, u, unit, rstd = load_normed(
            x_ptr, gamma_ptr, beta_ptr, first, rows, there, inner, x_stride, CI, NORM, EPS
        )
        raw, dy = _output_gradient(dy_ptr, seed_ptr, first, rows, there, outer, CO, P)
        if STORE == 2:
            db2 += tl.sum(dy, axis=0)
        u, dy = u.to(DT), dy.to(DT)
        if STORE == 2:
            store_cells(u_ptr, first, rows, there, inner, CI, u, CI)
            store_cells(dropped_ptr, first, rows, there, outer, CO, dy, CO)
        du = tl.zeros([B, BI], tl.float32)
        for start in range(0, HD, BH):
            hidden = start + tl.arange(0, BH)
            before, w1 = _hidden(
                u, w1_ptr, b1_ptr, extra_ptr, first, rows, there, inner, hidden, group,
                w1_stride, CI, HD, EXTRA, DT, IP,
            )  # fmt: skip
            gradient, after = _hidden_gradient(
                before, dy, w2_ptr, seed_ptr, first, rows, hidden, outer, HD, CO, P, DT, IP
            )
            if STORE > 0:
                store_cells(gradient_ptr, first, rows, there, hidden, HD, gradient, HD)
            if STORE == 2:
                store_cells(after_ptr, first, rows, there, hidden, HD, after, HD)
            du = tl.dot(gradient.to(DT), w1, du, input_precision=IP)
        if NORM:
            dgamma += tl.sum(du * unit, axis=0)
            dbeta += tl.sum(du, axis=0)
            gamma = tl.load(gamma_ptr + inner, mask=inner < CI, other=0.0)
            du = normalise_backward(du * gamma[None, :], unit, rstd, CI)
        if RESIDUAL:
            du += raw
        store_cells(dx_ptr, first, rows, there, inner, x_stride, du, CI)
    if NORM:
        tl.atomic_add(dgamma_ptr + inner, dgamma, mask=inner < CI)
        tl.atomic_add(dbeta_ptr + inner, dbeta, mask=inner < CI)
    if STORE == 2:
        tl.atomic_add(db2_ptr + outer, db2, mask=outer < CO)


@triton.jit
def _mlp_backward_weight(
    x_ptr: tl.tensor, gamma_ptr: tl.tensor, beta_ptr: tl.tensor, w1_ptr: tl.tensor,
    b1_ptr: tl.tensor, extra_ptr: tl.tensor, w2_ptr: tl.tensor, dy_ptr: tl.tensor,
    dw1_ptr: tl.tensor, db1_ptr: tl.tensor, dw2_ptr: tl.tensor, db2_ptr: tl.tensor,
    seed_ptr: tl.tensor, n_rows: tl.tensor, group: tl.tensor, x_stride: tl.tensor,
    w1_stride: tl.tensor, CI: tl.constexpr, HD: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr,
    BH: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    EXTRA: tl.constexpr, P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Sum the gradients of the weights over a share of the rows, making the hidden layer again."""
    inner, outer = tl.arange(0, BI), tl.arange(0, BO)
    hidden = tl.arange(0, BH)
    dw1 = tl.zeros([BH, BI], tl.float32)
    dw2 = tl.zeros([BO, BH], tl.float32)
    db1 = tl.zeros([BH], tl.float32)
    db2 = tl.zeros([BO], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        _x, u, _unit, _rstd = load_normed(
            x_ptr, gamma_ptr, beta_ptr, first, rows, there, inner, x_stride, CI, NORM, EPS
        )
        _raw, dy = _output_gradient(dy_ptr, seed_ptr, first, rows, there, outer, CO, P)
        db2 += tl.sum(dy, axis=0)
        u, dy = u.to(DT), dy.to(DT)
        before, _w1 = _hidden(
            u, w1_ptr, b1_ptr, extra_ptr, first, rows, there, inner, hidden, group, w1_stride,
            CI, HD, EXTRA, DT, IP,
        )  # fmt: skip
        gradient, after = _hidden_gradient(
            before, dy, w2_ptr, seed_ptr, first, rows, hidden, outer, HD, CO, P, DT, IP
        )
        db1 += tl.sum(gradient, axis=0)
        dw1 = tl.dot(tl.trans(gradient.to(DT)), u, dw1, input_precision=IP)
        dw2 = tl.dot(tl.trans(dy), after.to(DT), dw2, input_precision=IP)
    mask = (hidden[:, None] < HD) & (inner[None, :] < CI)
    tl.atomic_add(cells(dw1_ptr, 0, hidden, inner, CI), dw1, mask=mask)
    mask = (outer[:, None] < CO) & (hidden[None, :] < HD)
    tl.atomic_add(cells(dw2_ptr, 0, outer, hidden, HD), dw2, mask=mask)
    tl.atomic_add(db1_ptr + hidden, db1, mask=hidden < HD)
    tl.atomic_add(db2_ptr + outer, db2, mask=outer < CO)


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, norm_weight: Tensor | None, norm_bias: Tensor | None, w1: Tensor,
        b1: Tensor, extra: Tensor | None, w2: Tensor, b2: Tensor, eps: float, residual: bool,
        dropout: float, seed: Tensor | None,
    ) -> Tensor:  # fmt: skip
        n_hidden, n_in = w1.shape
        n_out = len(w2)
        x, w2 = x.contiguous(), w2.contiguous()
        n_rows = x.numel() // x.shape[-1]
        y = x.new_empty(*x.shape[:-1], n_out)
        group = 1 if extra is None else n_rows // (extra.numel() // n_hidden)
        numbers = (n_rows, group, x.shape[-1], w1.stride(0))
        sizes: dict[str, Any] = {"CI": n_in, "HD": n_hidden, "CO": n_out, "BI": padded(n_in)}
        sizes |= {"BH": min(64, padded(n_hidden)), "BO": padded(n_out)}
        sizes |= {"NORM": norm_weight is not None, "EPS": eps, "EXTRA": _kind_of(extra, group)}
        sizes |= {
            "P": threshold(dropout),
            "DT": kernel_dtype(x.dtype),
            "IP": dot_precision(x.dtype),
        }
        tile = tile_of(sizes["BI"], x.dtype, warps=8 if sizes["BI"] <= 64 else 4)
        _mlp_forward[(triton.cdiv(n_rows, tile["B"]),)](
            *(x, norm_weight, norm_bias, w1, b1, extra, w2, b2, y, seed),
            *numbers,
            **sizes,
            **tile,
            RESIDUAL=residual,
        )
        ctx.save_for_backward(x, norm_weight, norm_bias, w1, b1, extra, w2, seed)
        ctx.numbers, ctx.sizes, ctx.residual = numbers, sizes, residual
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, norm_weight, norm_bias, w1, b1, extra, w2, seed = ctx.saved_tensors
        sizes, (n_rows, group, *_) = ctx.sizes, ctx.numbers
        given = (x, norm_weight, norm_bias, w1, b1, extra, w2, dy.contiguous())
        # A hidden layer in one part is soon made again; one in several is written for the weights.
        several = sizes["HD"] > sizes["BH"]
        summed_below = (None, None, None) if several else (w1[:, : sizes["CI"]], b1, w2)
        dgamma, dbeta, dw1, db1, dw2, db2 = zeros_like(
            norm_weight, norm_bias, *summed_below, w2[:, 0]
        )
        store = 2 if several else int(extra is not None)
        gradient, after = (_room(x, n_rows, sizes["HD"], store > least) for least in (0, 1))
        u, dropped = (_room(x, n_rows, sizes[name], several) for name in ("CI", "CO"))
        dx = None
        if ctx.needs_input_grad[0] or store > 0:
            dx = torch.zeros_like(x) if x.shape[-1] > sizes["CI"] else torch.empty_like(x)
            tile = tile_of(128, x.dtype)
            tiles = triton.cdiv(n_rows, tile["B"])
            _mlp_backward_input[(n_programs(tiles, x.device, per_processor=4),)](
                *(*given, dx, gradient, after, u, dropped, dgamma, dbeta, db2),
                *(seed, *ctx.numbers),
                **sizes,
                **tile,
                RESIDUAL=ctx.residual,
                STORE=store,
            )
        if several:
            dw1, db1 = weight_gradient(u, gradient)
            dw2 = weight_gradient(dropped, after)[0].T
        else:
            tile = tile_of(64, x.dtype, warps=8)
            programs = n_programs(triton.cdiv(n_rows, tile["B"]), x.device)
            _mlp_backward_weight[(programs,)](
                *(*given, dw1, db1, dw2, db2, seed, *ctx.numbers), **sizes, **tile
            )
        dextra = None
        if extra is not None:
            if group > 1:
                gradient = gradient.unflatten(0, (-1, group)).sum(dim=1, dtype=torch.float32)
            dextra = gradient.reshape(extra.shape).to(extra.dtype)
        return dx, dgamma, dbeta, dw1, db1, dextra, dw2, db2, None, None, None, None


def _room(x: Tensor, n_rows: int, columns: int, needed: bool) -> Any:
    return x.new_empty(n_rows, columns) if needed else None


def _kind_of(extra: Tensor | None, group: int) -> int:
    """Return 0 for none, 1 for a row of its own for every row of x, 2 for one for several."""
    return 0 if extra is None else 1 if group == 1 else 2


def mlp(
    x: Tensor,  # (..., CI), or wider: further columns do not count
    first: tuple[Tensor, Tensor],  # weight (H, CI) and bias (H,), float32
    second: tuple[Tensor, Tensor],  # weight (CO, H) and bias (CO,)
    norm: nn.LayerNorm | None = None,
    extra: Tensor | None = None,  # (..., H): added to the hidden layer; one row for many of x
    residual: bool = False,
    dropout: float = 0.0,
    seed: Tensor | None = None,
) -> Tensor:  # (..., CO), of the type of x
    """Return [x +] dropout(W2 · dropout(relu(W1 · norm(x) + extra + b1)) + b2)."""
    eps = 0.0 if norm is None else norm.eps
    scale, shift = (None, None) if norm is None else (norm.weight, norm.bias)
    result: Tensor = _Mlp.apply(
        *(x, scale, shift, *first, extra, *second, eps, residual, dropout, seed)
    )  # type: ignore[no-untyped-call]
    return result
