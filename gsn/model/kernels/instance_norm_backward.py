"""Kernels of the backward pass of `gsn.model.kernels.instance_norm`: two, whatever the size."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.chunk_sums import MOST_CHUNKS, ChunkSums, load_chunks, store_sums
from gsn.model.kernels.maps import TILE, channels_of_program, grid_of, tile_of, tiles_per_program

SLOPE_TILE = TILE // 2  # a whole one takes 112 registers a thread, with room for two programs
PROGRAMS_PER_PROCESSOR = 4  # of 8 warps with 60 registers a thread


def normalise_backward(
    x: Tensor,  # (V, C, H, W), channels-last
    out: Tensor | None,  # (V, C, H + 2·PAD, W + 2·PAD) if there was a residual
    moments: Tensor,  # (2, V, C)
    weight: Tensor,  # (C,)
    bias: Tensor,  # (C,)
    grads: list[Tensor | None],  # of the three ways to see the map, channels-last
    settings: dict[str, float | str | int],  # ACTIVATION, PAD
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # (V, C, H, W), (C,), (C,), (V, C, H, W)
    """Return the gradients of `x`, `weight`, `bias` and of what went into the activation.

    Without a residual nobody needs the last one, and its memory is that of the first.
    """
    views, channels, height, width = x.shape
    pixels = height * width
    sums = ChunkSums(x, SLOPE_TILE)
    before = torch.empty_like(x)  # gradient of what goes into the activation
    _slope_kernel[sums.grid](
        *(x, out, moments, weight, bias, *grads, before, sums.buffer),
        *(height, width, channels, sums.tiles),
        **sums.tile,
        **settings,
    )
    # Only a residual needs `before` afterwards; else each element is read, then overwritten.
    grad_x = before if out is None else torch.empty_like(x)
    of_weights = torch.empty((2, channels), dtype=torch.float32, device=x.device)
    tile = tile_of(channels)
    tiles = tiles_per_program(x, pixels, tile, PROGRAMS_PER_PROCESSOR)
    chunks, _, blocks = grid_of(x, pixels, tile, tiles)
    _input_kernel[chunks, views + 1, blocks](
        *(x, before, moments, sums.buffer, weight, grad_x, of_weights),
        *(pixels, channels, views, sums.chunks, tiles),
        **tile,
        MOST=MOST_CHUNKS,
    )
    return grad_x, of_weights[1], of_weights[0], before


@triton.jit
def _load_moments(
    moments: tl.tensor, view: tl.tensor, views: int, c: tl.tensor, channels: int
) -> tl.tensor:
    """Return the mean and 1/√(variance + ε) of a view."""
    at = moments + view * channels + c
    mean = tl.load(at, mask=c < channels, other=0)
    return mean, tl.load(at + views * channels, mask=c < channels, other=0)


@triton.jit
def _folded_row(
    grad: tl.tensor, row: tl.tensor, column: tl.tensor,
    width: int, channels: int, c: tl.tensor, ok: tl.tensor,
) -> tl.tensor:  # fmt: skip
    """Gradient of pixels in one row of the padded map, with their reflections left and right."""
    at = grad + (row * (width + 2))[:, None] * channels + c[None]
    own = tl.load(at + (column + 1)[:, None] * channels, mask=ok, other=0).to(tl.float32)
    left = tl.load(at, mask=ok & (column == 1)[:, None], other=0)
    right = tl.load(at + (width + 1) * channels, mask=ok & (column == width - 2)[:, None], other=0)
    return own + left.to(tl.float32) + right.to(tl.float32)


@triton.jit
def _with_reflections(
    total: tl.tensor, grad: tl.tensor, start: tl.tensor, row: tl.tensor, column: tl.tensor,
    height: int, width: int, channels: int, c: tl.tensor, ok: tl.tensor, BLOCK_P: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Add what pixels of the inner map get from the rows above and below it."""
    top, bottom, last = start // width, (start + BLOCK_P - 1) // width, height - 2
    if ((top <= 1) & (bottom >= 1)) | ((top <= last) & (bottom >= last)):  # of few tiles
        above = ok & (row == 1)[:, None]
        total += _folded_row(grad, row * 0, column, width, channels, c, above)
        below = ok & (row == last)[:, None]
        total += _folded_row(grad, row * 0 + height + 1, column, width, channels, c, below)
    return total


@triton.jit
def _slope(z: tl.tensor, ACTIVATION: tl.constexpr, FROM_OUT: tl.constexpr) -> tl.tensor:
    """Derivative of the activation, from what went in or, FROM_OUT, from what came out."""
    if ACTIVATION == "relu":
        slope = tl.where(z > 0, 1.0, 0.0)
    elif ACTIVATION == "elu":
        slope = tl.where(z > 0, 1.0, z + 1 if FROM_OUT else tl.exp(z))
    else:
        slope = tl.zeros_like(z) + 1
    return slope


@triton.jit
def _own_gradient(
    grad_padded: tl.tensor, grad_inner: tl.tensor, grad_second: tl.tensor,
    p: tl.tensor, row: tl.tensor, column: tl.tensor, at_padded: tl.tensor,
    width: int, channels: int, c: tl.tensor, ok: tl.tensor,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, PAD: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Add up what the three ways to see a view send to its pixels, but for rows beyond it."""
    grad = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    if grad_padded is not None:
        if PAD:
            grad += _folded_row(grad_padded, row + 1, column, width, channels, c, ok)
        else:
            grad += tl.load(grad_padded + at_padded, mask=ok, other=0)
    if grad_inner is not None:
        grad += tl.load(grad_inner + p[:, None] * channels + c[None], mask=ok, other=0)
    if grad_second is not None:
        even = ok & ((row % 2 == 0) & (column % 2 == 0))[:, None]
        second = row // 2 * ((width + 1) // 2) + column // 2
        grad += tl.load(grad_second + second[:, None] * channels + c[None], mask=even, other=0)
    return grad


@triton.jit(do_not_specialize=["height", "width", "tiles"])
def _slope_kernel(
    x: tl.tensor, out: tl.tensor, moments: tl.tensor, weight: tl.tensor, bias: tl.tensor,
    grad_padded: tl.tensor, grad_inner: tl.tensor, grad_second: tl.tensor,
    before: tl.tensor, sums: tl.tensor,
    height: int, width: int, channels: int, tiles: int,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
    ACTIVATION: tl.constexpr, PAD: tl.constexpr,
) -> None:  # fmt: skip
    """Find the gradient before the activation, and sum it and its product with the normal map."""
    view = tl.program_id(1).to(tl.int64)
    c = channels_of_program(channels, BLOCK_C)
    pixels = height * width
    first = view * pixels * channels  # element of the view
    x += first
    before += first
    first_padded = view * (height + 2 * PAD) * (width + 2 * PAD) * channels
    if out is not None:
        out += first_padded
    if grad_padded is not None:
        grad_padded += first_padded
    if grad_inner is not None:
        grad_inner += first
    if grad_second is not None:
        grad_second += view * ((height + 1) // 2) * ((width + 1) // 2) * channels
    mean, rstd = _load_moments(moments, tl.program_id(1), tl.num_programs(1), c, channels)
    scale = rstd * tl.load(weight + c, mask=c < channels, other=0)
    offset = tl.load(bias + c, mask=c < channels, other=0)
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    product = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for tile in range(tiles):
        start = (tl.program_id(0) * tiles + tile) * BLOCK_P
        p = start + tl.arange(0, BLOCK_P)
        row, column = p // width, p % width
        ok = (p < pixels)[:, None] & (c < channels)[None]
        at = p[:, None] * channels + c[None]
        padded = ((row + PAD) * (width + 2 * PAD) + column + PAD)[:, None] * channels + c[None]
        # All loads stand before the branch, which they could not be moved across.
        centred = tl.load(x + at, mask=ok, other=0).to(tl.float32) - mean[None]
        z = centred * scale[None] + offset[None]
        if out is not None:
            z = tl.load(out + padded, mask=ok, other=0).to(tl.float32)
        grad = _own_gradient(
            grad_padded, grad_inner, grad_second, p, row, column, padded,
            width, channels, c, ok, BLOCK_P, BLOCK_C, PAD,
        )  # fmt: skip
        if PAD:
            if grad_padded is not None:
                grad = _with_reflections(
                    grad, grad_padded, start, row, column, height, width, channels, c, ok, BLOCK_P
                )  # fmt: skip
        grad *= _slope(z, ACTIVATION, out is not None)
        tl.store(before + at, grad.to(before.dtype.element_ty), mask=ok)
        total += grad
        product += grad * centred
    store_sums(sums, total, product * rstd[None], c, channels)


@triton.jit(do_not_specialize=["pixels", "views", "chunks", "tiles"])
def _input_kernel(
    x: tl.tensor, before: tl.tensor, moments: tl.tensor, sums: tl.tensor, weight: tl.tensor,
    grad_x: tl.tensor, of_weights: tl.tensor,
    pixels: int, channels: int, views: int, chunks: int, tiles: int,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, MOST: tl.constexpr,
) -> None:  # fmt: skip
    """Finish the gradient of x; programs in front of those of the first view, of the weights."""
    c = channels_of_program(channels, BLOCK_C)
    if tl.program_id(1) == 0:
        if tl.program_id(0) == 0:
            _sum_over_views(sums, of_weights, views, chunks, c, channels, BLOCK_C, MOST)
    else:
        view = tl.program_id(1) - 1
        first = view.to(tl.int64) * pixels * channels
        x += first
        before += first
        grad_x += first
        total, product = load_chunks(sums, view, views, chunks, c, channels, MOST)
        grad_mean, grad_slope = tl.sum(total, 0) / pixels, tl.sum(product, 0) / pixels
        mean, rstd = _load_moments(moments, view, views, c, channels)
        scale = rstd * tl.load(weight + c, mask=c < channels, other=0)
        for tile in range(tiles):
            p = (tl.program_id(0) * tiles + tile) * BLOCK_P + tl.arange(0, BLOCK_P)
            ok = (p < pixels)[:, None] & (c < channels)[None]
            at = p[:, None] * channels + c[None]
            value = tl.load(x + at, mask=ok, other=0).to(tl.float32)
            grad = tl.load(before + at, mask=ok, other=0).to(tl.float32)
            normal = (value - mean[None]) * rstd[None]
            grad = (grad - grad_mean[None] - normal * grad_slope[None]) * scale[None]
            tl.store(grad_x + at, grad.to(grad_x.dtype.element_ty), mask=ok)


@triton.jit
def _sum_over_views(
    sums: tl.tensor, of_weights: tl.tensor, views: int, chunks: int, c: tl.tensor, channels: int,
    BLOCK_C: tl.constexpr, MOST: tl.constexpr,
) -> None:  # fmt: skip
    """Add up the chunks of all views: the gradients of the bias and of the weight."""
    total = tl.zeros([MOST, BLOCK_C], tl.float32)
    product = tl.zeros([MOST, BLOCK_C], tl.float32)
    for view in tl.range(views, loop_unroll_factor=4):
        of_bias, of_weight = load_chunks(sums, view, views, chunks, c, channels, MOST)
        total += of_bias
        product += of_weight
    tl.store(of_weights + c, tl.sum(total, 0), mask=c < channels)
    tl.store(of_weights + channels + c, tl.sum(product, 0), mask=c < channels)
