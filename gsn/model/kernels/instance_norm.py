"""Instance norm, residual sum, activation and reflected border of a map, fused.

    out = reflect_pad(activation(instance_norm(x) * weight + bias + residual))

Maps are channels-last in memory and of any size. Forward: sums over the pixels of each (view,
channel), then everything else. Backward: the gradient before the activation with its two sums,
then the gradients of x, weight and bias.

Kernels are annotated for Triton too: `int` is a 32-bit number that is never compiled in, a tensor
is a pointer, or None for an argument that is not there.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gsn.checks import check_shape
from gsn.model.kernels.instance_norm_backward import normalise_backward
from gsn.model.kernels.instance_norm_forward import normalise
from gsn.model.kernels.maps import channels_last, neighbouring_channels

Activation = Literal["none", "relu", "elu"]


@dataclass(frozen=True)
class NormedMap:
    """One map in memory, seen in three ways; their gradients are added up in one pass."""

    padded: Tensor  # (V, C, H + 2·pad, W + 2·pad)
    inner: Tensor  # (V, C, H, W)
    every_second: Tensor  # (V, C, ⌈H/2⌉, ⌈W/2⌉), what a 1×1 convolution of stride 2 reads


def norm_act_pad(
    x: Tensor,  # (V, C, H, W)
    norm: nn.InstanceNorm2d,
    activation: Activation,
    pad: Literal[0, 1],
    residual: Tensor | None = None,  # (V, C, H, W)
) -> NormedMap:
    """Normalise each channel of each view, add `residual`, activate, reflect at the border.

    `residual` may be the `inner` view of another map: only its channels have to be neighbours.

    Raises:
        ValueError: Shapes do not fit, the norm has no weights, or there is nothing to reflect.
    """
    size = check_shape("x", x, f"V {norm.num_features} H W")
    if residual is not None:
        check_shape("residual", residual, " ".join(str(side) for side in x.shape))
    if norm.weight is None or norm.bias is None:
        raise ValueError(f"{norm}: expected weight and bias; make it with affine=True")
    if pad and min(size["H"], size["W"]) < 2:
        raise ValueError(f"x: {size['H']}×{size['W']} pixels; reflection needs 2 on each side")
    views: tuple[Tensor, Tensor, Tensor] = _NormActPad.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, residual, norm.eps, activation, pad
    )
    return NormedMap(*views)


class _NormActPad(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None,
        eps: float,
        activation: Activation,
        pad: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = channels_last(x)
        residual = None if residual is None else neighbouring_channels(residual)
        ctx.settings = {"ACTIVATION": activation, "PAD": pad}
        padded, moments = normalise(x, residual, weight, bias, ctx.settings | {"EPS": eps})
        # Backward finds the slope of the activation from x again; with a residual it cannot.
        ctx.save_for_backward(x, moments, weight, bias, None if residual is None else padded)
        ctx.set_materialize_grads(False)
        inner = padded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]
        return padded, inner, inner[:, :, ::2, ::2]

    @staticmethod
    def backward(
        ctx: Any,
        *grads: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        x, moments, weight, bias, out = ctx.saved_tensors
        dense = [None if grad is None else channels_last(grad) for grad in grads]
        grad_x, grad_weight, grad_bias, before = normalise_backward(
            x, out, moments, weight, bias, dense, ctx.settings
        )
        grad_residual = None if out is None else before
        return grad_x, grad_weight, grad_bias, grad_residual, None, None, None
