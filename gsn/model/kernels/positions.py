"""The position encoding of samples, written once in the precision of the network.

Twin of `gsn.model.renderer.encode_position`, with a column of zeros at the end: rows of 64 numbers.
To 1e-5 for coordinates up to 1,000, of a scene whose nearest depth is 4/3; wrong far beyond.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import rows_of, store_cells

WIDTH = 64
_ROWS = 64


@triton.jit
def _positions_forward(
    x_ptr: tl.tensor, y_ptr: tl.tensor, n_rows: tl.tensor, B: tl.constexpr,
) -> None:  # fmt: skip
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    column = tl.arange(0, 64)
    axis = column % 3
    wave = tl.maximum(column - 3, 0) // 3  # sine, cosine of octave 0, sine, cosine of octave 1, …
    place = x_ptr + first * 3 + (rows[:, None] * 3 + axis[None, :])
    x = tl.load(place, mask=there[:, None], other=0.0)
    angle = x * tl.exp2((wave // 2).to(tl.float32))[None, :]
    # Brought near zero first, exactly: 2π in two parts, the larger one of a few bits.
    turns = tl.floor(angle * 0.15915494309189535 + 0.5)
    angle = (angle - turns * 6.28125) - turns * 0.0019353071795864769
    waves = tl.where((wave % 2 == 0)[None, :], tl.sin(angle), tl.cos(angle))
    y = tl.where((column < 3)[None, :], x, waves)
    y = tl.where((column < 63)[None, :], y, 0.0)
    store_cells(y_ptr, first, rows, there, column, 64, y, 64)


def encode(
    vectors: Tensor,  # (N, 3), float32
    dtype: torch.dtype,
) -> Tensor:  # (N, 64)
    """Encode positions; no gradient, since cameras are not trained."""
    encoded = torch.empty(len(vectors), WIDTH, device=vectors.device, dtype=dtype)
    _positions_forward[(triton.cdiv(len(vectors), _ROWS),)](
        vectors.contiguous(), encoded, len(vectors), B=_ROWS
    )
    return encoded
