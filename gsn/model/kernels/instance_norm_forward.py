"""Kernels of the forward pass of `gsn.model.kernels.instance_norm`.

Two, one that sums over chunks of the pixels and one that finishes; of a small map, one for both.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.chunk_sums import MOST_CHUNKS, ChunkSums, load_chunks, store_sums
from gsn.model.kernels.maps import (
    TILE,
    channels_of_program,
    empty_map,
    grid_of,
    pixel_strides,
    reflected,
    tile_of,
    tiles_per_program,
)

SMALL_MAP_PIXELS = 1024  # that one program goes over twice, for the sums and to finish
SMALL_MAP_TILE = {"BLOCK_P": 256, "BLOCK_C": 16, "num_warps": 8}  # a row is a whole sector
PROGRAMS_PER_PROCESSOR = 5  # of 8 warps with 48 registers a thread


def normalise(
    x: Tensor,  # (V, C, H, W), channels-last
    residual: Tensor | None,  # (V, C, H, W), channels neighbours
    weight: Tensor,  # (C,)
    bias: Tensor,  # (C,)
    settings: dict[str, float | str | int],  # EPS, ACTIVATION, PAD
) -> tuple[Tensor, Tensor]:  # (V, C, H + 2·PAD, W + 2·PAD), (2, V, C) float32
    """Return the finished map with its border, and mean and 1/√(variance + ε) of `x`."""
    views, channels, height, width = x.shape
    pad = int(settings["PAD"])
    padded = empty_map(x, (height + 2 * pad, width + 2 * pad))
    moments = torch.empty((2, views, channels), dtype=torch.float32, device=x.device)
    pixels = padded.shape[2] * padded.shape[3]
    if height * width <= SMALL_MAP_PIXELS:
        chunks, sums, tile = 1, None, SMALL_MAP_TILE
        tiles = triton.cdiv(pixels, tile["BLOCK_P"])
    else:
        chunks, sums = _sums_of(x)
        tile = tile_of(channels)
        tiles = tiles_per_program(x, pixels, tile, PROGRAMS_PER_PROCESSOR)
    strides = (0,) * 3 if residual is None else pixel_strides(residual)
    _apply_kernel[grid_of(x, pixels, tile, tiles)](
        *(x, residual, sums, weight, bias, padded, moments),
        *(height, width, channels, chunks, tiles, *strides),
        **tile,
        **settings,
        MOST=MOST_CHUNKS,
    )
    return padded, moments


def _sums_of(x: Tensor) -> tuple[int, Tensor]:  # chunks, (2, V, chunks, C)
    sums = ChunkSums(x, TILE)
    pixels, channels = x.shape[2] * x.shape[3], x.shape[1]
    _sum_kernel[sums.grid](x, sums.buffer, pixels, channels, sums.tiles, **sums.tile)
    return sums.chunks, sums.buffer


@triton.jit
def _shifted_sums(
    x: tl.tensor, chunk: tl.tensor, tiles: int, pixels: int, c: tl.tensor, channels: int,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Sum x − x₀ and its square over a chunk of a view; x₀ is the first, against cancellation."""
    first = tl.load(x + c, mask=c < channels, other=0).to(tl.float32)
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    square = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    # Unrolled, so that several loads are under way at a time.
    for tile in tl.range(tiles, loop_unroll_factor=4):
        p = (chunk * tiles + tile) * BLOCK_P + tl.arange(0, BLOCK_P)
        ok = (p < pixels)[:, None] & (c < channels)[None]
        value = tl.load(x + p[:, None] * channels + c[None], mask=ok, other=0).to(tl.float32)
        shifted = tl.where(ok, value - first[None], 0)
        total += shifted
        square += shifted * shifted
    return total, square


@triton.jit(do_not_specialize=["pixels", "tiles"])
def _sum_kernel(
    x: tl.tensor, sums: tl.tensor, pixels: int, channels: int, tiles: int,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
) -> None:  # fmt: skip
    c = channels_of_program(channels, BLOCK_C)
    x += tl.program_id(1).to(tl.int64) * pixels * channels
    total, square = _shifted_sums(
        x, tl.program_id(0), tiles, pixels, c, channels, BLOCK_P, BLOCK_C
    )  # fmt: skip
    store_sums(sums, total, square, c, channels)


@triton.jit
def _moments(
    x: tl.tensor, sums: tl.tensor, chunks: int, c: tl.tensor, pixels: int, channels: int,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, EPS: tl.constexpr, MOST: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the mean and 1/√(variance + ε) of the program's view and channels."""
    if sums is None:
        tiles = tl.cdiv(pixels, BLOCK_P)
        total, square = _shifted_sums(x, 0, tiles, pixels, c, channels, BLOCK_P, BLOCK_C)
    else:
        view, views = tl.program_id(1), tl.num_programs(1)
        total, square = load_chunks(sums, view, views, chunks, c, channels, MOST)
    shifted, square = tl.sum(total, 0) / pixels, tl.sum(square, 0) / pixels
    first = tl.load(x + c, mask=c < channels, other=0).to(tl.float32)
    variance = tl.maximum(square - shifted * shifted, 0)
    return first + shifted, tl.rsqrt(variance + EPS)


@triton.jit
def _store_moments(
    moments: tl.tensor, mean: tl.tensor, rstd: tl.tensor, c: tl.tensor, channels: int
) -> None:
    """Keep the program's moments for the backward pass."""
    at = moments + tl.program_id(1) * channels + c
    tl.store(at, mean, mask=c < channels)
    tl.store(at + tl.num_programs(1) * channels, rstd, mask=c < channels)


@triton.jit(do_not_specialize=["height", "width", "chunks", "tiles"])
def _apply_kernel(
    x: tl.tensor, residual: tl.tensor, sums: tl.tensor, weight: tl.tensor, bias: tl.tensor,
    out: tl.tensor, moments: tl.tensor,
    height: int, width: int, channels: int, chunks: int, tiles: int,
    residual_view: int, residual_row: int, residual_pixel: int,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
    EPS: tl.constexpr, ACTIVATION: tl.constexpr, PAD: tl.constexpr, MOST: tl.constexpr,
) -> None:  # fmt: skip
    view = tl.program_id(1).to(tl.int64)
    c = channels_of_program(channels, BLOCK_C)
    wide, high = width + 2 * PAD, height + 2 * PAD
    x += view * height * width * channels
    out += view * high * wide * channels
    mean, rstd = _moments(x, sums, chunks, c, height * width, channels, BLOCK_P, BLOCK_C, EPS, MOST)
    if tl.program_id(0) == 0:
        _store_moments(moments, mean, rstd, c, channels)
    scale = rstd * tl.load(weight + c, mask=c < channels, other=0)
    offset = tl.load(bias + c, mask=c < channels, other=0)
    for tile in range(tiles):
        p = (tl.program_id(0) * tiles + tile) * BLOCK_P + tl.arange(0, BLOCK_P)
        ok = (p < wide * high)[:, None] & (c < channels)[None]
        row, column = reflected(p // wide - PAD, height), reflected(p % wide - PAD, width)
        at = (row * width + column)[:, None] * channels + c[None]
        z = (tl.load(x + at, mask=ok, other=0).to(tl.float32) - mean[None]) * scale[None]
        z += offset[None]
        if residual is not None:
            at = (row * residual_row + column * residual_pixel)[:, None] + c[None]
            z += tl.load(residual + view * residual_view + at, mask=ok, other=0).to(tl.float32)
        if ACTIVATION == "relu":
            z = tl.where(z < 0, 0, z)  # a maximum would hide what is not a number
        elif ACTIVATION == "elu":
            z = tl.where(z > 0, z, tl.exp(z) - 1)
        tl.store(out + p[:, None] * channels + c[None], z.to(out.dtype.element_ty), mask=ok)
