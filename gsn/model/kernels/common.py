"""What the kernels share: precision, sizes of tiles, layer norm, dropout."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from gsn.model.kernels.choice import roomy

MASKED = -1e30  # of a score that must not count; finite, so that differences of two are
UNIT = tl.constexpr(2.0**-32)  # of the probability that kernels take, see `threshold`


@triton.jit
def rows_of(tile: tl.tensor, n_rows: tl.tensor, B: tl.constexpr) -> tl.tensor:
    """Return the first row of a tile (64 bits), the rows from there, and which of them exist.

    Addresses are a number for the tile and small offsets inside it: 64-bit addresses of every
    element would take more registers than the elements.
    """
    first = (tl.zeros([], tl.int64) + tile) * B
    rows = tl.arange(0, B)
    return first, rows, first + rows < n_rows


@triton.jit
def cells(
    ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, columns: tl.tensor, stride: tl.tensor,
) -> tl.tensor:  # fmt: skip
    """Return the addresses of a tile of a matrix whose rows are `stride` apart."""
    return ptr + first * stride + (rows[:, None] * stride + columns[None, :])


@triton.jit
def load_cells(
    ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor, columns: tl.tensor,
    stride: tl.tensor, C: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Load a tile of a matrix of C columns; zero where there is none."""
    mask = there[:, None] & (columns[None, :] < C)
    return tl.load(cells(ptr, first, rows, columns, stride), mask=mask, other=0.0)


@triton.jit
def store_cells(
    ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor, columns: tl.tensor,
    stride: tl.tensor, values: tl.tensor, C: tl.constexpr,
) -> None:  # fmt: skip
    """Store a tile of a matrix of C columns, in the type of the matrix."""
    mask = there[:, None] & (columns[None, :] < C)
    values = values.to(ptr.dtype.element_ty)
    tl.store(cells(ptr, first, rows, columns, stride), values, mask=mask)


@triton.jit
def sees(visible_ptr: tl.tensor, at: tl.tensor, rows: tl.tensor, there: tl.tensor) -> tl.tensor:
    """Return whether a view sees samples, of numbers (V, N)."""
    return tl.load(visible_ptr + at + rows, mask=there, other=0) > 0


@triton.jit
def relu(x: tl.tensor) -> tl.tensor:
    """Return what is above zero; what is not a number stays so, for a diverged step to be seen."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def within(first: tl.tensor, second: tl.tensor, N: tl.constexpr, M: tl.constexpr) -> tl.tensor:
    """Return which of a tile's cells exist in an N × M matrix."""
    return (first[:, None] < N) & (second[None, :] < M)


@triton.jit
def add_cells(
    ptr: tl.tensor, rows: tl.tensor, columns: tl.tensor, values: tl.tensor, N: tl.constexpr,
    M: tl.constexpr,
) -> None:  # fmt: skip
    """Add a part of an N × M matrix that other programs add to as well."""
    tl.atomic_add(cells(ptr, 0, rows, columns, M), values, mask=within(rows, columns, N, M))


@triton.jit
def add_transposed(
    ptr: tl.tensor, columns: tl.tensor, rows: tl.tensor, values: tl.tensor, M: tl.constexpr,
    N: tl.constexpr,
) -> None:  # fmt: skip
    """Add a part of an N × M matrix likewise, given columns first."""
    at = ptr + (rows[None, :] * M + columns[:, None])
    tl.atomic_add(at, values, mask=within(columns, rows, M, N))


@triton.jit
def add_sums(ptr: tl.tensor, n: tl.tensor, sums: tl.tensor, N: tl.constexpr) -> None:
    """Add to a row of N what was summed as a product with 16 columns of ones.

    Sums over rows are made so because matrix units have time, and the threads have not.
    """
    tl.atomic_add(ptr + n, tl.sum(sums, axis=1) / 16, mask=n < N)


@triton.jit
def seed_of(seed_ptr: tl.tensor, P: tl.constexpr) -> tl.tensor:
    """Return the seed of a dropout; anything without one."""
    if P > 0:
        return tl.load(seed_ptr)
    else:
        return 0


@triton.jit
def keep(
    seed: tl.tensor, first: tl.tensor, rows: tl.tensor, columns: tl.tensor, P: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Draw which cells of a tile dropout keeps: a function of the seed and the place of the cell.

    A row draws two numbers, which make those of its cells in three instructions. Philox, or mixing
    for every cell, would cost more than the matrix products: there are 63 million cells in a view
    block.

    Args:
        seed: 32 random bits.
        first: First row of the tile, see `rows_of`.
        rows: Rows from there.
        columns: Columns.
        P: Probability of dropping, in 1 / 2³², see `threshold`.
    """
    x = ((first + rows).to(tl.uint32) ^ seed.to(tl.uint32)) * 0x9E3779B1
    x = (x ^ (x >> 15)) * 0x85EBCA77
    odd = ((x ^ (x >> 13)) * 0xC2B2AE35) | 1
    of_column = columns.to(tl.uint32) * 0x9E3779B1
    return (x[:, None] ^ of_column[None, :]) * odd[:, None] >= P


@triton.jit
def drop(
    values: tl.tensor, seed_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, columns: tl.tensor,
    P: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Drop cells of a tile and enlarge the others, as `torch.nn.Dropout` does."""
    kept = keep(tl.load(seed_ptr), first, rows, columns, P)
    return tl.where(kept, values * (1.0 / (1.0 - P * UNIT)), 0.0)


@triton.jit
def normalise(x: tl.tensor, columns: tl.tensor, C: tl.constexpr, EPS: tl.constexpr) -> tl.tensor:
    """Return (x - mean) / deviation of every row, and 1 / deviation; padding stays zero."""
    mean = tl.sum(x, axis=1) / C
    centred = tl.where(columns[None, :] < C, x - mean[:, None], 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=1) / C + EPS)
    return centred * rstd[:, None], rstd


@triton.jit
def normalise_backward(
    du: tl.tensor, unit: tl.tensor, rstd: tl.tensor, C: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Turn the gradient of the output of `normalise` into that of its input."""
    along = tl.sum(du * unit, axis=1) / C
    return (du - tl.sum(du, axis=1)[:, None] / C - unit * along[:, None]) * rstd[:, None]


@triton.jit
def load_normed(
    x_ptr: tl.tensor, first: tl.tensor, rows: tl.tensor, there: tl.tensor, columns: tl.tensor,
    C: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Load a tile and normalise its rows, if NORM, without scale and shift: see `behind_norm`.

    Returns:
        The tile; the same, normalised; 1 / deviation of a row.
    """
    x = load_cells(x_ptr, first, rows, there, columns, C, C).to(tl.float32)
    unit, rstd = x, tl.zeros_like(tl.sum(x, axis=1))
    if NORM:
        unit, rstd = normalise(x, columns, C, EPS)
    return x, unit, rstd


def padded(size: int, smallest: int = 16) -> int:
    """Return the power of two that holds so many columns; matrix units take 16 at least."""
    power: int = triton.next_power_of_2(size)
    return max(smallest, power)


def dot_precision(dtype: torch.dtype) -> str:
    """Return how products of float32 are made: without tensor cores. Others are as they are."""
    return "ieee" if dtype == torch.float32 else "tf32"


def kernel_dtype(dtype: torch.dtype) -> Any:
    """Return the type of Triton for a type of torch."""
    return {torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}[dtype]


def tile_of(width: int, dtype: torch.dtype, warps: int = 4, stages: int = 1) -> dict[str, int]:
    """Return how many rows of so many columns a program takes at a time, and how it is run.

    As measured on an H100. Where a program does much with what it loads, loading ahead (`stages`)
    costs more programs on a processor than it saves: it needs shared memory.
    """
    if dtype == torch.float32:
        return {"B": 32 if width <= 64 else 16, "num_warps": 4, "num_stages": 1}
    return {"B": 128 if width <= 64 else 64, "num_warps": warps, "num_stages": ahead(stages)}


def ahead(stages: int) -> int:
    """Return how many loads are started ahead: several where shared memory has room for them."""
    return stages if roomy() else 1


def threshold(dropout: float) -> int:
    """Return the probability of dropping as kernels take it."""
    return round(dropout * 2**32)


def behind_norm(
    norm: nn.LayerNorm,
    weight: Tensor,  # (CO, CI)
    bias: Tensor | None,  # (CO,)
) -> tuple[Tensor, Tensor]:  # (CO, CI), (CO,)
    """Return a linear layer with the scale and shift of the norm before it taken into it.

    So kernels normalise and no more, and have no gradients of scale and shift to sum.
    """
    shift = weight @ norm.bias
    return weight * norm.weight, shift if bias is None else bias + shift


def n_programs(tiles: int, device: torch.device, blocks: int = 1, per_processor: int = 2) -> int:
    """Return how many programs share the tiles, where each sums gradients of weights.

    Args:
        tiles: To be shared.
        device: Where they run.
        blocks: Programs of each, beside each other.
        per_processor: That run at the same time on one of its processors.
    """
    if device.type != "cuda":
        return min(tiles, 2)
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(tiles, per_processor * processors // blocks))


def zeros_like(*weights: Tensor | None) -> list[Any]:
    """Return zeros in float32 for each of some tensors, all in one piece of memory: one launch."""
    sizes = [0 if weight is None else -(-weight.numel() // 4) * 4 for weight in weights]
    device = next(weight.device for weight in weights if weight is not None)
    parts = torch.split(torch.zeros(sum(sizes), device=device), sizes)
    return [
        None if weight is None else part[: weight.numel()].view(weight.shape)
        for weight, part in zip(weights, parts, strict=True)
    ]


class Seeds:
    """Seeds of the dropouts of one pass, drawn on the device: a replayed graph draws others.

    Without dropout there are none.
    """

    def __init__(self, device: torch.device, dropout: float, count: int) -> None:
        self.dropout = dropout
        self._seeds: list[Tensor] = []
        if dropout > 0:
            # Rows of 16 bytes: a kernel is compiled anew for addresses less aligned.
            drawn = torch.randint(2**31 - 1, (count, 4), device=device, dtype=torch.int32)
            self._seeds = list(drawn)

    def next(self) -> Tensor | None:
        """Return a seed that was not used yet, (4,), of which the first counts."""
        return self._seeds.pop() if self.dropout > 0 else None
