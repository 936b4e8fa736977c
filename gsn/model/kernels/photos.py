"""Photos as the encoder's first convolution reads them: centred, with a border, four as one."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from gsn.model.kernels.maps import reflected

CELLS = 128  # of a program


def centred_photos(
    images: Tensor,  # (V, 3, H, W) in [0, 1]
    border: int,
    channels: int,
    dtype: torch.dtype,
) -> Tensor:  # (V, 4·channels, ⌈H/2⌉ + border, ⌈W/2⌉ + border), channels-last
    """Return photos − ½ with a reflected border, after `torch.pixel_unshuffle` to half the size.

    Channels behind the third are 0 before it, and pixels behind the border, if a side is odd.
    """
    return _CentredPhotos.apply(images, border, channels, dtype)  # type: ignore[no-untyped-call, no-any-return]


class _CentredPhotos(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        border: int,
        channels: int,
        dtype: torch.dtype,
    ) -> Tensor:
        views, colours, height, width = images.shape
        shape = (views, 4 * channels, -(-height // 2) + border, -(-width // 2) + border)
        memory = torch.channels_last
        out = torch.empty(shape, dtype=dtype, device=images.device, memory_format=memory)
        _centre_kernel[triton.cdiv(shape[2] * shape[3], CELLS), views](
            *(images, out, height, width, *images.stride()),
            BORDER=border,
            COLOURS=colours,
            CHANNELS=shape[1],
            CELLS=CELLS,
            BLOCK_C=triton.next_power_of_2(shape[1]),
        )
        ctx.save_for_backward(images)
        ctx.border = border
        return out

    @staticmethod
    def backward(
        ctx: Any,
        grad: Tensor,
    ) -> tuple[Tensor | None, ...]:
        (images,) = ctx.saved_tensors
        # Nothing that is trained needs it, so it has no kernel of its own.
        _, colours, height, width = images.shape
        border = [ctx.border] * 4
        rows, columns = height + 2 * ctx.border, width + 2 * ctx.border
        plain = functional.pixel_shuffle(grad.to(images.dtype), 2)[:, :colours, :rows, :columns]
        plain = plain.contiguous()
        found = torch.ops.aten.reflection_pad2d_backward(plain, images.contiguous(), border)
        return found, None, None, None


@triton.jit(do_not_specialize=["height", "width", "of_view", "of_colour", "of_row"])
def _centre_kernel(
    images: tl.tensor, out: tl.tensor,
    height: int, width: int, of_view: int, of_colour: int, of_row: int, of_column: int,
    BORDER: tl.constexpr, COLOURS: tl.constexpr, CHANNELS: tl.constexpr,
    CELLS: tl.constexpr, BLOCK_C: tl.constexpr,
) -> None:  # fmt: skip
    view = tl.program_id(1).to(tl.int64)
    cells_wide, cells_high = tl.cdiv(width, 2) + BORDER, tl.cdiv(height, 2) + BORDER
    cell = (tl.program_id(0) * CELLS + tl.arange(0, CELLS))[:, None]
    channel = tl.arange(0, BLOCK_C)[None]  # of 2 × 2 pixels of a colour, row by row
    colour = channel // 4
    y = 2 * (cell // cells_wide) + channel % 4 // 2 - BORDER
    x = 2 * (cell % cells_wide) + channel % 2 - BORDER
    there = (cell < cells_wide * cells_high) & (channel < CHANNELS)
    real = there & (colour < COLOURS) & (y < height + BORDER) & (x < width + BORDER)
    at = reflected(y, height) * of_row + reflected(x, width) * of_column + colour * of_colour
    value = tl.load(images + view * of_view + at, mask=real, other=0.5).to(tl.float32) - 0.5
    out += view * cells_high * cells_wide * CHANNELS
    tl.store(out + cell * CHANNELS + channel, value.to(out.dtype.element_ty), mask=there)
