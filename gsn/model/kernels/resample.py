"""Upsampling, and joining a map with a skip connection, each with the reflected border.

One kernel fetches between pixels; its transpose, for the gradient, gathers too and needs no
atomics.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.maps import (
    channels_last,
    empty_map,
    grid_of,
    neighbouring_channels,
    pixel_strides,
    tile_of,
)

NOWHERE = tl.constexpr(-2.0)  # a position that no cell is within reach of


def upsample(x: Tensor, parity: bool) -> Tensor:  # (V, C, h, w) → (V, C, H + 2, W + 2)
    """Double the resolution as `Encoder._upsample` does, and reflect at the border."""
    h, w = x.shape[-2:]
    size = (2 * h, 2 * w) if parity else (2 * h - 1, 2 * w - 1)
    return _resample(_Grid(size, stretched=True, zero_beyond=False), x)


def join(x: Tensor, skip: Tensor, parity: bool) -> Tensor:  # → (V, C + C', H + 2, W + 2)
    """Concatenate as `Encoder._join` does, and reflect at the border.

    The smaller one is continued at its right and bottom: by its last cells, or by zeros in parity
    mode.
    """
    height, width = (x if parity else skip).shape[-2:]
    return _resample(_Grid((height, width), stretched=False, zero_beyond=parity), x, skip)


@dataclass(frozen=True)
class _Grid:
    """Cells that maps are brought to, a border of reflected cells not counted."""

    size: tuple[int, int]
    stretched: bool  # linearly, from corner to corner; else a map begins at the first cell
    zero_beyond: bool  # the end of a smaller map; else its last row and column are repeated

    def arguments(self, own: tuple[int, int]) -> tuple[int | float, ...]:
        """Return what kernels need to know to place a map of `own` size."""
        reached = self.size if self.stretched else own
        scales = (_scale(n, m) for n, m in zip(own, reached, strict=True))
        return *own, *reached, *self.size, *scales


def _scale(cells: int, reached: int) -> float:
    """Cells of a map from one cell of the grid to the next."""
    return (cells - 1) / (reached - 1) if reached > 1 else 1.0


def _resample(grid: _Grid, *maps: Tensor) -> Tensor:  # (V, C, h, w) each → (V, ΣC, H + 2, W + 2)
    return _Resample.apply(grid, *maps)  # type: ignore[no-untyped-call, no-any-return]


class _Resample(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        grid: _Grid,
        *maps: Tensor,
    ) -> Tensor:
        height, width = (side + 2 for side in grid.size)
        channels = [source.shape[1] for source in maps]
        out = empty_map(maps[0], (height, width), sum(channels))
        for part, given in zip(torch.split(out, channels, dim=1), maps, strict=True):
            source = neighbouring_channels(given)
            tile = tile_of(source.shape[1])
            _spread_kernel[grid_of(source, height * width, tile)](
                *(source, part, source.shape[1], out.shape[1], *pixel_strides(source)),
                *grid.arguments((source.shape[2], source.shape[3])),
                **tile,
                LINEAR=grid.stretched,
                ZERO_BEYOND=grid.zero_beyond,
            )
        ctx.grid = grid
        ctx.shapes = [source.shape for source in maps]
        return out

    @staticmethod
    def backward(
        ctx: Any,
        grad: Tensor,
    ) -> tuple[Tensor | None, ...]:
        grad = channels_last(grad)
        parts = torch.split(grad, [shape[1] for shape in ctx.shapes], dim=1)
        grads = []
        for part, (_, channels, height, width) in zip(parts, ctx.shapes, strict=True):
            arguments = ctx.grid.arguments((height, width))
            taps = max(math.ceil(2 / scale) for scale in arguments[-2:])
            grad_map = empty_map(grad, (height, width), channels)
            tile = tile_of(channels)
            _collect_kernel[grid_of(grad_map, height * width, tile)](
                *(part, grad_map, channels, grad.shape[1], taps, *arguments),
                **tile,
                ZERO_BEYOND=ctx.grid.zero_beyond,
            )
            grads.append(grad_map)
        return None, *grads


@triton.jit
def _position(
    cell: tl.tensor, size: int, reached: int, scale: float, ZERO_BEYOND: tl.constexpr
) -> tl.tensor:
    """Where a cell of the grid with its border lies on one axis of a map; far off: nowhere."""
    inner = tl.abs(cell - 1)
    inner = tl.where(inner >= size, 2 * size - 2 - inner, inner)
    position = tl.minimum(inner, reached - 1) * scale
    if ZERO_BEYOND:
        position = tl.where(inner < reached, position, NOWHERE)
    return position


_SIZES = ["height", "width", "reached_y", "reached_x", "size_y", "size_x"]


@triton.jit(do_not_specialize=_SIZES)
def _spread_kernel(
    source: tl.tensor, out: tl.tensor, channels: int, out_channels: int,
    source_view: int, source_row: int, source_pixel: int,
    height: int, width: int, reached_y: int, reached_x: int, size_y: int, size_x: int,
    scale_y: float, scale_x: float,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
    LINEAR: tl.constexpr, ZERO_BEYOND: tl.constexpr,
) -> None:  # fmt: skip
    view = tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)[None]
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    wide, high = size_x + 2, size_y + 2
    y = _position(p // wide, size_y, reached_y, scale_y, ZERO_BEYOND)
    x = _position(p % wide, size_x, reached_x, scale_x, ZERO_BEYOND)
    written = (p < wide * high) & (c < channels)
    ok = written & (y >= 0) & (x >= 0)
    top, left = y.to(tl.int32), x.to(tl.int32)
    source += view * source_view
    above, before = top * source_row + c, left * source_pixel
    value = tl.load(source + above + before, mask=ok, other=0).to(tl.float32)
    if LINEAR:
        below = tl.minimum(top + 1, height - 1) * source_row + c
        after = tl.minimum(left + 1, width - 1) * source_pixel
        beside = tl.load(source + above + after, mask=ok, other=0).to(tl.float32)
        under = tl.load(source + below + before, mask=ok, other=0).to(tl.float32)
        across = tl.load(source + below + after, mask=ok, other=0).to(tl.float32)
        value += (x - left) * (beside - value)
        value += (y - top) * (under + (x - left) * (across - under) - value)
    out += view * high * wide * out_channels
    tl.store(out + p * out_channels + c, value.to(out.dtype.element_ty), mask=written)


@triton.jit
def _reader(
    own: tl.tensor, tap: tl.tensor, taps: int,
    size: int, reached: int, scale: float, ZERO_BEYOND: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the grid cell that reads cell `own` of a map as its `tap`-th, and with what weight.

    Readers are neighbours on the grid, and perhaps a cell of its border: the last two taps.
    """
    # Rounded correctly: an ordinary division may fall short of a whole number.
    nearest = tl.floor(tl.div_rn((own - 1).to(tl.float32), scale)).to(tl.int32) + 2
    border = tap >= taps
    cell = tl.where(border, (tap - taps) * (size + 1), nearest + tap)
    position = _position(cell, size, reached, scale, ZERO_BEYOND)
    weight = tl.maximum(1 - tl.abs(position - own), 0)
    return cell, tl.where(border | ((cell >= 1) & (cell <= size)), weight, 0)


@triton.jit(do_not_specialize=["taps", *_SIZES])
def _collect_kernel(
    grad: tl.tensor, grad_map: tl.tensor, channels: int, grad_channels: int, taps: int,
    height: int, width: int, reached_y: int, reached_x: int, size_y: int, size_x: int,
    scale_y: float, scale_x: float,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, ZERO_BEYOND: tl.constexpr,
) -> None:  # fmt: skip
    view = tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)[None]
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    ok = (p < height * width) & (c < channels)
    grad += view * (size_y + 2) * (size_x + 2) * grad_channels
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for tap_y in range(taps + 2):
        row, weight_y = _reader(p // width, tap_y, taps, size_y, reached_y, scale_y, ZERO_BEYOND)
        for tap_x in range(taps + 2):
            column, weight_x = _reader(
                p % width, tap_x, taps, size_x, reached_x, scale_x, ZERO_BEYOND
            )
            weight = weight_y * weight_x
            at = grad + (row * (size_x + 2) + column) * grad_channels + c
            total += weight * tl.load(at, mask=ok & (weight > 0), other=0).to(tl.float32)
    grad_map += view * height * width * channels
    tl.store(grad_map + p * channels + c, total.to(grad_map.dtype.element_ty), mask=ok)
