"""All weights of a network's convolutions at once: in another precision and channels-last.

One copy puts them in a row, one kernel casts and transposes them; backward likewise for the
gradients. Weight by weight it would be a launch for each.
"""

import functools
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.checks import check_shape

ROWS = 128  # pairs of channels that a program takes
TAPS = 16  # places of a filter that a program takes, a 3×3 one at once
ALIGNMENT = 64  # elements: vector loads of a convolution begin at multiples of 16 bytes


class Filter(NamedTuple):
    """Shape of the weight of a convolution, (C', C, kh, kw), and the channels it shall read."""

    outputs: int
    inputs: int
    height: int
    width: int
    read: int  # ≥ inputs: beyond them the weight is 0


def cast_filters(weights: list[Tensor], read: list[int], dtype: torch.dtype) -> list[Tensor]:
    """Return every weight in `dtype` and channels-last, with zeros up to the channels it reads.

    Args:
        weights: (C', C, kh, kw) each, float32.
        read: Channels that the map has which each weight is applied to, C at least.
        dtype: Precision of the results.

    Raises:
        ValueError: A weight has other dimensions, or more channels than it shall read.
    """
    filters = []
    for weight, channels in zip(weights, read, strict=True):
        check_shape("weight", weight, "O C h w")
        outputs, inputs, height, width = weight.shape
        filters.append(Filter(outputs, inputs, height, width, channels))
        if channels < inputs:
            raise ValueError(f"weight: {inputs} channels for a map of {channels}")
    return list(_CastFilters.apply(tuple(filters), dtype, *weights))  # type: ignore[no-untyped-call]


class _CastFilters(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        filters: tuple[Filter, ...],
        dtype: torch.dtype,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.filters, ctx.dtype = filters, weights[0].dtype
        row = torch.cat([weight.reshape(-1) for weight in weights])
        cells, starts = _transpose(row, filters, dtype, back=False)
        return tuple(
            cells[start : start + f.outputs * f.height * f.width * f.read]
            .view(f.outputs, f.height, f.width, f.read)
            .permute(0, 3, 1, 2)
            for f, start in zip(filters, starts, strict=True)
        )

    @staticmethod
    def backward(
        ctx: Any,
        *grads: Tensor,
    ) -> tuple[Tensor | None, ...]:
        row = torch.cat([grad.permute(0, 2, 3, 1).reshape(-1) for grad in grads])
        cells, starts = _transpose(row, ctx.filters, ctx.dtype, back=True)
        found = (
            cells[start : start + f.outputs * f.inputs * f.height * f.width].view(f[:2] + f[2:4])
            for f, start in zip(ctx.filters, starts, strict=True)
        )
        return None, None, *found


def _transpose(
    row: Tensor, filters: tuple[Filter, ...], dtype: torch.dtype, back: bool
) -> tuple[Tensor, list[int]]:
    """Return all weights (C', kh, kw, C), or BACK in order (C', C, kh, kw), and their starts."""
    plan, starts, size = _plan(filters, back, row.device)
    cells = torch.empty(size, dtype=dtype, device=row.device)
    _transpose_kernel[(len(plan),)](row, cells, plan, ROWS=ROWS, TAPS=TAPS, BACK=back)
    return cells, starts


@functools.cache  # for good: a recorded CUDA graph reads the plan at its address
def _plan(
    filters: tuple[Filter, ...], back: bool, device: torch.device
) -> tuple[Tensor, list[int], int]:
    """Return what each program does, (programs, 8), where each result starts, and their size."""
    programs, starts, read, written = [], [], 0, 0
    for f in filters:
        taps, rows = f.height * f.width, f.outputs * f.read
        starts.append(written)
        for first_row in range(0, rows, ROWS):
            for first_tap in range(0, taps, TAPS):
                part = (f.inputs, f.read, taps, rows, first_row, first_tap)
                programs.append((read, written, *part))
        of_both = f.outputs * f.inputs * taps, rows * taps
        read += of_both[back]
        written += triton.cdiv(of_both[not back], ALIGNMENT) * ALIGNMENT
    with torch.inference_mode(False):
        return torch.tensor(programs, dtype=torch.int32, device=device), starts, written


@triton.jit
def _transpose_kernel(
    row: tl.tensor, cells: tl.tensor, plan: tl.tensor,
    ROWS: tl.constexpr, TAPS: tl.constexpr, BACK: tl.constexpr,
) -> None:  # fmt: skip
    plan += tl.program_id(0) * 8
    row += tl.load(plan)
    cells += tl.load(plan + 1)
    inputs, read, taps = tl.load(plan + 2), tl.load(plan + 3), tl.load(plan + 4)
    pair = (tl.load(plan + 6) + tl.arange(0, ROWS))[None]  # of an output and an input
    tap = (tl.load(plan + 7) + tl.arange(0, TAPS))[:, None]
    output, channel = pair // read, pair % read
    there = (pair < tl.load(plan + 5)) & (tap < taps)
    real = there & (channel < inputs)
    plain = (output * inputs + channel) * taps + tap
    last = (output * taps + tap) * read + channel
    if BACK:
        value = tl.load(row + last, mask=real)
        tl.store(cells + plain, value.to(cells.dtype.element_ty), mask=real)
    else:
        value = tl.load(row + plain, mask=real, other=0)
        tl.store(cells + last, value.to(cells.dtype.element_ty), mask=there)
