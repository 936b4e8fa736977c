"""One kernel for two linear layers with a ReLU between them; the hidden layer is never in memory.

The feed-forward of a block, and the networks that embed observations, positions and directions.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.choice import roomy
from gsn.model.kernels.common import (
    UNIT,
    add_cells,
    add_sums,
    dot_precision,
    drop,
    keep,
    kernel_dtype,
    load_cells,
    load_normed,
    n_programs,
    normalise_backward,
    padded,
    relu,
    rows_of,
    store_cells,
    threshold,
    tile_of,
    zeros_like,
)


@triton.jit
def _layers(
    w1_ptr: tl.tensor, w2_ptr: tl.tensor, inner: tl.tensor, hidden: tl.tensor, outer: tl.tensor,
    w1_stride: tl.tensor, CI: tl.constexpr, HD: tl.constexpr, CO: tl.constexpr, DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return what of both weights belongs to a part of the hidden layer."""
    w1 = load_cells(w1_ptr, 0, hidden, hidden < HD, inner, w1_stride, CI).to(DT)
    return w1, load_cells(w2_ptr, 0, outer, outer < CO, hidden, HD, HD).to(DT)


@triton.jit
def _hidden(
    u: tl.tensor, w1: tl.tensor, b1_ptr: tl.tensor, extra_ptr: tl.tensor, first: tl.tensor,
    rows: tl.tensor, there: tl.tensor, hidden: tl.tensor, group: tl.tensor, HD: tl.constexpr,
    EXTRA: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return a part of the hidden layer before its ReLU."""
    before = tl.dot(u, tl.trans(w1), input_precision=IP)
    before += tl.load(b1_ptr + hidden, mask=hidden < HD, other=0.0)[None, :]
    if EXTRA == 1:
        before += load_cells(extra_ptr, first, rows, there, hidden, HD, HD).to(tl.float32)
    if EXTRA == 2:
        groups = ((first + rows) // group).to(tl.int32)
        before += load_cells(extra_ptr, 0, groups, there, hidden, HD, HD).to(tl.float32)
    return before


@triton.jit
def _mlp_forward(
    x_ptr: tl.tensor, w1_ptr: tl.tensor, b1_ptr: tl.tensor, extra_ptr: tl.tensor, w2_ptr: tl.tensor,
    b2_ptr: tl.tensor, y_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor, group: tl.tensor,
    w1_stride: tl.tensor, CI: tl.constexpr, HD: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr,
    BH: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    EXTRA: tl.constexpr, RESIDUAL: tl.constexpr, P: tl.constexpr, DT: tl.constexpr,
    IP: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    inner, outer = tl.arange(0, BI), tl.arange(0, BO)
    x, u, _rstd = load_normed(x_ptr, first, rows, there, inner, CI, NORM, EPS)
    u = u.to(DT)
    y = tl.zeros([B, BO], tl.float32)
    for start in range(0, HD, BH):
        hidden = start + tl.arange(0, BH)
        w1, w2 = _layers(w1_ptr, w2_ptr, inner, hidden, outer, w1_stride, CI, HD, CO, DT)
        before = _hidden(u, w1, b1_ptr, extra_ptr, first, rows, there, hidden, group, HD, EXTRA, IP)
        after = relu(before)
        if P > 0:
            after = drop(after, seed_ptr, first, rows, hidden, P)
        y = tl.dot(after.to(DT), tl.trans(w2), y, input_precision=IP)
    y += tl.load(b2_ptr + outer, mask=outer < CO, other=0.0)[None, :]
    if P > 0:
        y = drop(y, seed_ptr + 1, first, rows, outer, P)
    if RESIDUAL:
        y += x
    store_cells(y_ptr, first, rows, there, outer, CO, y, CO)


@triton.jit
def _hidden_gradient(
    u: tl.tensor, dy: tl.tensor, w1: tl.tensor, b1_ptr: tl.tensor, extra_ptr: tl.tensor,
    w2: tl.tensor, seed_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor,
    hidden: tl.tensor, group: tl.tensor, HD: tl.constexpr, EXTRA: tl.constexpr, P: tl.constexpr,
    DT: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the gradient before the ReLU, and what came out of it and its dropout."""
    before = _hidden(u, w1, b1_ptr, extra_ptr, first, rows, there, hidden, group, HD, EXTRA, IP)
    gradient = tl.dot(dy, w2, input_precision=IP)
    counts = before > 0
    if P > 0:
        counts = counts & keep(tl.load(seed_ptr), first, rows, hidden, P)
        gradient *= 1.0 / (1.0 - P * UNIT)
        before *= 1.0 / (1.0 - P * UNIT)
    return tl.where(counts, gradient, 0.0).to(DT), tl.where(counts, before, 0.0).to(DT)


@triton.jit
def _load_rows(
    x_ptr: tl.tensor, dy_ptr: tl.tensor, seed_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor,
    there: tl.tensor, inner: tl.tensor, outer: tl.tensor, CI: tl.constexpr, CO: tl.constexpr,
    NORM: tl.constexpr, EPS: tl.constexpr, P: tl.constexpr, DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return x, normed; 1 / deviation of its rows; the gradient of the last dropout's input."""
    _x, unit, rstd = load_normed(x_ptr, first, rows, there, inner, CI, NORM, EPS)
    dy = load_cells(dy_ptr, first, rows, there, outer, CO, CO)
    if P > 0:
        dy = drop(dy.to(tl.float32), seed_ptr + 1, first, rows, outer, P).to(DT)
    return unit, rstd, dy


@triton.jit
def _sum_weights(
    sums: tl.tuple, gradient: tl.tensor, after: tl.tensor, u: tl.tensor, dy: tl.tensor,
    ones: tl.tensor, IP: tl.constexpr,
) -> tl.tuple:  # fmt: skip
    """Return sums of gradients of both weights and biases with those of a tile added."""
    dw1, db1, dw2, db2 = sums
    return (
        tl.dot(tl.trans(gradient), u, dw1, input_precision=IP),
        tl.dot(tl.trans(gradient), ones, db1, input_precision=IP),
        tl.dot(tl.trans(dy), after, dw2, input_precision=IP),
        tl.dot(tl.trans(dy), ones, db2, input_precision=IP),
    )


@triton.jit
def _store_gradient(
    dx_ptr: tl.tensor, du: tl.tensor, unit: tl.tensor, rstd: tl.tensor, dy_ptr: tl.tensor,
    first: tl.tensor, rows: tl.tensor, there: tl.tensor, inner: tl.tensor, outer: tl.tensor,
    CI: tl.constexpr, CO: tl.constexpr, NORM: tl.constexpr, RESIDUAL: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of x, given that of the normed x."""
    if NORM:
        du = normalise_backward(du, unit, rstd, CI)
    if RESIDUAL:
        du += load_cells(dy_ptr, first, rows, there, outer, CO, CO).to(tl.float32)
    store_cells(dx_ptr, first, rows, there, inner, CI, du, CI)


@triton.jit
def _mlp_backward(
    x_ptr: tl.tensor, w1_ptr: tl.tensor, b1_ptr: tl.tensor, extra_ptr: tl.tensor, w2_ptr: tl.tensor,
    dy_ptr: tl.tensor, dx_ptr: tl.tensor, dextra_ptr: tl.tensor, u_ptr: tl.tensor,
    dropped_ptr: tl.tensor, dw1_ptr: tl.tensor, db1_ptr: tl.tensor, dw2_ptr: tl.tensor,
    db2_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor, group: tl.tensor,
    w1_stride: tl.tensor, CI: tl.constexpr, HD: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr,
    BH: tl.constexpr, BO: tl.constexpr, B: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    EXTRA: tl.constexpr, RESIDUAL: tl.constexpr, INPUT: tl.constexpr, WEIGHT: tl.constexpr,
    READY: tl.constexpr, P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Make the gradients of inputs (INPUT) and of weights (WEIGHT), and the hidden layer again.

    The inputs are x and what is added to the hidden layer. Weights get sums over a share of the
    rows, for one part of the hidden layer: both go together only if it has no other. Else x and dy
    are written, normed and dropped, for the pass of the weights, which is told that they are READY.
    """
    inner, outer = tl.arange(0, BI), tl.arange(0, BO)
    hidden = tl.program_id(1) * BH + tl.arange(0, BH)
    ones = tl.full([B, 16], 1.0, DT)
    sums: tl.tuple = ()
    if WEIGHT:
        w1, w2 = _layers(w1_ptr, w2_ptr, inner, hidden, outer, w1_stride, CI, HD, CO, DT)
        sums += (tl.zeros([BH, BI], tl.float32), tl.zeros([BH, 16], tl.float32))
        sums += (tl.zeros([BO, BH], tl.float32), tl.zeros([BO, 16], tl.float32))
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        unit, rstd, dy = _load_rows(
            x_ptr, dy_ptr, seed_ptr, first, rows, there, inner, outer, CI, CO,
            NORM and not READY, EPS, 0 if READY else P, DT,
        )  # fmt: skip
        u = unit.to(DT)
        if u_ptr is not None:
            store_cells(u_ptr, first, rows, there, inner, CI, u, CI)
            store_cells(dropped_ptr, first, rows, there, outer, CO, dy, CO)
        du = tl.zeros([B, BI], tl.float32)
        for start in range(0, BH if WEIGHT else HD, BH):
            if not WEIGHT:
                hidden = start + tl.arange(0, BH)
                w1, w2 = _layers(w1_ptr, w2_ptr, inner, hidden, outer, w1_stride, CI, HD, CO, DT)
            gradient, after = _hidden_gradient(
                u, dy, w1, b1_ptr, extra_ptr, w2, seed_ptr, first, rows, there, hidden, group, HD,
                EXTRA, P, DT, IP,
            )  # fmt: skip
            if INPUT:
                du = tl.dot(gradient, w1, du, input_precision=IP)
                if EXTRA > 0:
                    store_cells(dextra_ptr, first, rows, there, hidden, HD, gradient, HD)
            if WEIGHT:
                sums = _sum_weights(sums, gradient, after, u, dy, ones, IP)
        if INPUT:
            _store_gradient(
                dx_ptr, du, unit, rstd, dy_ptr, first, rows, there, inner, outer, CI, CO,
                NORM, RESIDUAL,
            )  # fmt: skip
    if WEIGHT:
        add_cells(dw1_ptr, hidden, inner, sums[0], HD, CI)
        add_sums(db1_ptr, hidden, sums[1], HD)
        add_cells(dw2_ptr, outer, hidden, sums[2], CO, HD)
        if tl.program_id(1) == 0:
            add_sums(db2_ptr, outer, sums[3], CO)


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, extra: Tensor | None, w2: Tensor, b2: Tensor,
        eps: float | None, residual: bool, dropout: float, seed: Tensor | None,
    ) -> Tensor:  # fmt: skip
        n_hidden, n_in = w1.shape
        n_out = len(w2)
        x, w2 = x.contiguous(), w2.contiguous()
        n_rows = x.numel() // n_in
        y = x.new_empty(*x.shape[:-1], n_out)
        group = 1 if extra is None else n_rows // (extra.numel() // n_hidden)
        numbers = (n_rows, group, w1.stride(0))
        sizes: dict[str, Any] = {"CI": n_in, "HD": n_hidden, "CO": n_out, "BI": padded(n_in)}
        sizes |= {"BH": min(64, padded(n_hidden)), "BO": padded(n_out)}
        sizes |= {"NORM": eps is not None, "EPS": eps or 0.0, "EXTRA": _kind_of(extra, group)}
        sizes |= {
            "P": threshold(dropout),
            "DT": kernel_dtype(x.dtype),
            "IP": dot_precision(x.dtype),
        }
        narrow = sizes["BI"] <= 64
        tile = tile_of(sizes["BI"], x.dtype, warps=8 if narrow else 4, stages=2 if narrow else 1)
        _mlp_forward[(triton.cdiv(n_rows, tile["B"]),)](
            *(x, w1, b1, extra, w2, b2, y, seed),
            *numbers,
            **sizes,
            **tile,
            RESIDUAL=residual,
        )
        ctx.save_for_backward(x, w1, b1, extra, w2, seed)
        ctx.numbers, ctx.sizes, ctx.residual = numbers, sizes, residual
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w1, b1, extra, w2, seed = ctx.saved_tensors
        sizes, (n_rows, group, _) = ctx.sizes, ctx.numbers
        layers, dy = (w1, b1, extra, w2), dy.contiguous()
        dw1, db1, dw2, db2 = of_weights = zeros_like(w1, b1, w2, w2[:, 0])
        dx = dextra = None
        needed = ctx.needs_input_grad[0] or extra is not None
        if needed:
            dx = torch.empty_like(x)
        if extra is not None:
            dextra = x.new_empty(n_rows, sizes["HD"])
        parts = triton.cdiv(sizes["HD"], sizes["BH"])
        sizes = sizes | {"RESIDUAL": ctx.residual, "READY": False}
        if needed and parts > 1:
            u, dropped = x.new_empty(n_rows, sizes["CI"]), torch.empty_like(dy)
            tile = tile_of(128, x.dtype)
            tiles = triton.cdiv(n_rows, tile["B"])
            _mlp_backward[(n_programs(tiles, x.device, per_processor=4),)](
                *(x, *layers, dy, dx, dextra, u, dropped, None, None, None, None, seed),
                *ctx.numbers,
                **(sizes | tile | {"INPUT": True, "WEIGHT": False}),
            )
            x, dy, sizes["READY"] = u, dropped, True
        # Eight warps with 128 rows, one program on a processor, or four with 64, two of them: as
        # measured on an H100. Of wide rows 128 need its shared memory.
        large = parts == 1 or (sizes["BI"] > 64 and roomy())
        tile = tile_of(64 if large else 128, x.dtype, warps=8 if large else 4)
        tiles = triton.cdiv(n_rows, tile["B"])
        programs = n_programs(tiles, x.device, parts, per_processor=1 if large else 2)
        _mlp_backward[(programs, parts)](
            *(x, *layers, dy, dx, dextra, None, None, *of_weights, seed),
            *ctx.numbers,
            **(sizes | tile | {"INPUT": needed and parts == 1, "WEIGHT": True}),
        )
        if dextra is not None:
            if group > 1:
                dextra = dextra.unflatten(0, (-1, group)).sum(dim=1, dtype=torch.float32)
            dextra = dextra.reshape(extra.shape).to(extra.dtype)
        return dx, dw1, db1, dextra, dw2, db2, None, None, None, None


def _kind_of(extra: Tensor | None, group: int) -> int:
    """Return 0 for none, 1 for a row of its own for every row of x, 2 for one for several."""
    return 0 if extra is None else 1 if group == 1 else 2


def mlp(
    x: Tensor,  # (..., CI)
    first: tuple[Tensor, Tensor],  # weight (H, CI) and bias (H,), float32
    second: tuple[Tensor, Tensor],  # weight (CO, H) and bias (CO,)
    eps: float | None = None,  # of a layer norm before them, see `behind_norm`; None: there is none
    extra: Tensor | None = None,  # (..., H): added to the hidden layer; one row for many of x
    residual: bool = False,
    dropout: float = 0.0,
    seed: Tensor | None = None,
) -> Tensor:  # (..., CO), of the type of x
    """Return [x +] dropout(W2 · dropout(relu(W1 · norm(x) + extra + b1)) + b2)."""
    result: Tensor = _Mlp.apply(x, *first, extra, *second, eps, residual, dropout, seed)  # type: ignore[no-untyped-call]
    return result
