"""Photos as the encoder's first convolution reads them: channels-last, centred, with a border."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.maps import reflected

PIXELS = 512  # of a program


def centred_photos(
    images: Tensor,  # (V, 3, H, W) in [0, 1]
    border: int,
    channels: int,
    dtype: torch.dtype,
) -> Tensor:  # (V, channels, H + 2·border, W + 2·border)
    """Return photos − ½ with a reflected border; channels behind the third are 0."""
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
        shape = (views, channels, height + 2 * border, width + 2 * border)
        memory = torch.channels_last
        out = torch.empty(shape, dtype=dtype, device=images.device, memory_format=memory)
        _centre_kernel[triton.cdiv(shape[2] * shape[3], PIXELS), views](
            *(images, out, height, width, *images.stride()),
            BORDER=border,
            COLOURS=colours,
            CHANNELS=channels,
            PIXELS=PIXELS,
            BLOCK_C=triton.next_power_of_2(channels),
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
        plain = grad[:, : images.shape[1]].to(images.dtype).contiguous()
        border = [ctx.border] * 4
        found = torch.ops.aten.reflection_pad2d_backward(plain, images.contiguous(), border)
        return found, None, None, None


@triton.jit(do_not_specialize=["height", "width", "of_view", "of_colour", "of_row"])
def _centre_kernel(
    images: tl.tensor, out: tl.tensor,
    height: int, width: int, of_view: int, of_colour: int, of_row: int, of_column: int,
    BORDER: tl.constexpr, COLOURS: tl.constexpr, CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr, BLOCK_C: tl.constexpr,
) -> None:  # fmt: skip
    view = tl.program_id(1).to(tl.int64)
    wide, high = width + 2 * BORDER, height + 2 * BORDER
    p = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.arange(0, BLOCK_C)[None]
    row, column = reflected(p // wide - BORDER, height), reflected(p % wide - BORDER, width)
    ok = (p < wide * high)[:, None] & (c < CHANNELS)
    real = ok & (c < COLOURS)
    at = (row * of_row + column * of_column)[:, None] + c * of_colour
    value = tl.load(images + view * of_view + at, mask=real, other=0.5).to(tl.float32) - 0.5
    at = p[:, None] * CHANNELS + c
    out += view * high * wide * CHANNELS
    tl.store(out + at, value.to(out.dtype.element_ty), mask=ok)
