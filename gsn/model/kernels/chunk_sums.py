"""Sums over the pixels of each view and channel, without atomics, so that results repeat.

One kernel writes two sums of every chunk of pixels, (2, V, chunks, C) in float32; the next one adds
the few chunks in a fixed order, each program those it needs, and so needs no kernel in between.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.maps import grid_of, tile_of, tiles_per_program

MOST_CHUNKS = 32  # that whoever adds them has to read
PROGRAMS_PER_PROCESSOR = 3  # of 8 warps with their sums in registers
# Half of what other kernels take: twice the programs from as many chunks, and still whole sectors.
SUMMED_CHANNELS = 32


class ChunkSums:
    """Chunks of a map, and the buffer that takes their sums."""

    def __init__(self, x: Tensor, tile_elements: int) -> None:
        pixels = x.shape[2] * x.shape[3]
        self.tile = tile_of(x.shape[1], SUMMED_CHANNELS, tile_elements)
        self.tiles = tiles_per_program(x, pixels, self.tile, PROGRAMS_PER_PROCESSOR, MOST_CHUNKS)
        self.grid = grid_of(x, pixels, self.tile, self.tiles)
        self.chunks = self.grid[0]
        shape = (2, x.shape[0], self.chunks, x.shape[1])
        self.buffer = torch.empty(shape, dtype=torch.float32, device=x.device)


@triton.jit
def store_sums(
    buffer: tl.tensor, first: tl.tensor, second: tl.tensor, c: tl.tensor, channels: int
) -> None:
    """Write two sums over the program's pixels as those of its chunk."""
    row = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    rows = tl.num_programs(1) * tl.num_programs(0)
    at = buffer + row * channels + c
    tl.store(at, tl.sum(first, 0), mask=c < channels)
    tl.store(at + rows * channels, tl.sum(second, 0), mask=c < channels)


@triton.jit
def load_chunks(
    buffer: tl.tensor, view: tl.tensor, views: int, chunks: int, c: tl.tensor, channels: int,
    MOST: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return both sums of every chunk of a view, (MOST, BLOCK_C) each, zero where there is none."""
    chunk = tl.arange(0, MOST)
    ok = (chunk < chunks)[:, None] & (c < channels)[None]
    at = buffer + (view * chunks + chunk)[:, None] * channels + c[None]
    first = tl.load(at, mask=ok, other=0)
    second = tl.load(at + views * chunks * channels, mask=ok, other=0)
    return first, second
