"""Maps in memory, channels-last, and how the programs of a kernel share them.

A program goes over a few tiles of one view and one block of channels. How many is an argument and
no constant, so that a new size of the image compiles nothing.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048  # elements of a program's step: one 16-byte load a thread in bfloat16
WARPS = 8
CHANNEL_BLOCK = 64  # 128 bytes in bfloat16
PROCESSORS_ELSEWHERE = 4  # of what is no GPU: few, so that programs have several tiles there too


def channels_last(x: Tensor) -> Tensor:
    """Return `x` itself if its memory is (V, H, W, C) without gaps, else a copy that is."""
    return x.contiguous(memory_format=torch.channels_last)


def neighbouring_channels(x: Tensor) -> Tensor:
    """Return `x` itself if its channels are neighbours in memory, else a channels-last copy."""
    return x if x.stride(1) == 1 or x.shape[1] == 1 else channels_last(x)


def pixel_strides(x: Tensor) -> tuple[int, int, int]:
    """Return the elements from view to view, row to row and column to column."""
    return x.stride(0), x.stride(2), x.stride(3)


def empty_map(like: Tensor, size: tuple[int, int], channels: int | None = None) -> Tensor:
    """Return a channels-last map of another size, with nothing in it yet."""
    shape = (like.shape[0], channels or like.shape[1], *size)
    memory = torch.channels_last
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory)


def tile_of(channels: int, most: int = CHANNEL_BLOCK, elements: int = TILE) -> dict[str, int]:
    """Return the pixels and channels of a program's tile, as arguments of its kernel."""
    block = min(triton.next_power_of_2(channels), most)
    return {"BLOCK_P": elements // block, "BLOCK_C": block, "num_warps": WARPS}


def grid_of(x: Tensor, pixels: int, tile: dict[str, int], tiles: int = 1) -> tuple[int, int, int]:
    """Return the programs (chunks of pixels, views, blocks of channels) that cover a map."""
    views, channels = x.shape[:2]
    chunks = triton.cdiv(pixels, tile["BLOCK_P"] * tiles)
    return chunks, views, triton.cdiv(channels, tile["BLOCK_C"])


def tiles_per_program(
    x: Tensor, pixels: int, tile: dict[str, int], per_processor: int, most_chunks: int | None = None
) -> int:
    """Return how many tiles a program takes so that all run at once, without a last few alone."""
    available, views, blocks = grid_of(x, pixels, tile)
    chunks = max(1, per_processor * _processors(x.device) // (views * blocks))
    return triton.cdiv(available, min(chunks, most_chunks or chunks))  # type: ignore[no-any-return]


@functools.cache
def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return PROCESSORS_ELSEWHERE
    return torch.cuda.get_device_properties(device).multi_processor_count


@triton.jit
def channels_of_program(channels: int, BLOCK_C: tl.constexpr) -> tl.tensor:
    """Return the channels of a program, of which the last may not exist."""
    return tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)


@triton.jit
def reflected(at: tl.tensor, size: int) -> tl.tensor:
    """Bring an index that is up to `size` − 1 beyond an end back inside, mirrored at the end."""
    at = tl.abs(at)
    return tl.where(at >= size, 2 * size - 2 - at, at)
