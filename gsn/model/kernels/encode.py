"""The encoder's fast twin: its parameters, walked over channels-last maps with fused passes.

`gsn.model.encoder` is the definition. Here no convolution pads: whoever writes a map writes its
reflected border too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsn.checks import check_shape
from gsn.model.encoder import SMALLEST_SIDE_PX, DecoderLayer, Encoder, ResidualBlock
from gsn.model.kernels.choice import compute_dtype
from gsn.model.kernels.instance_norm import NormedMap, norm_act_pad
from gsn.model.kernels.photos import centred_photos
from gsn.model.kernels.resample import join, upsample
from gsn.model.kernels.weights import cast_filters

PHOTO_CHANNELS = 4  # of which the last is 0: so a cell of 2 × 2 pixels has 16, see `_stem`


def fast_encode(
    encoder: Encoder,
    images: Tensor,  # (V, 3, H, W) in [0, 1]
) -> Tensor:  # (V, C, h, w), channels-last in memory
    """Compute what `encoder(images)` does, in the precision of autocast, else in float32.

    Biases in front of an instance norm, which takes them away again, are left out: they get no
    gradient, where the readable encoder gives them rounding errors.

    Raises:
        ValueError: The photos have no three channels, or are too small for four halvings.
    """
    size = check_shape("images", images, "V 3 H W")
    if min(size["H"], size["W"]) <= SMALLEST_SIDE_PX:
        raise ValueError(
            f"photos of {size['W']}×{size['H']} px: the encoder needs more than "
            f"{SMALLEST_SIDE_PX} px on each side"
        )
    dtype = compute_dtype(images.device)
    with torch.autocast(images.device.type, enabled=False):  # all casts are made here
        # The norm behind the stem takes any constant away: around 0, 16 bits say twice as much.
        border = encoder.stem.kernel_size[0] // 2
        photos = centred_photos(images, border, PHOTO_CHANNELS, dtype)
        return _Walk.of(encoder, dtype).along(encoder, photos)


@dataclass(frozen=True)
class _Walk:
    """`Encoder.forward`, line by line, with weights that were cast before."""

    weights: dict[nn.Module, Tensor]  # of each convolution, channels-last

    @classmethod
    def of(cls, encoder: Encoder, dtype: torch.dtype) -> "_Walk":
        convs = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
        read = [PHOTO_CHANNELS if c is encoder.stem else c.in_channels for c in convs]
        cast = cast_filters([conv.weight for conv in convs], read, dtype)
        return cls(dict(zip(convs, cast, strict=True)))

    def along(self, encoder: Encoder, photos: Tensor) -> Tensor:
        x = self._stem(photos, encoder.stem)
        quarter = self._stage(norm_act_pad(x, encoder.stem_norm, "relu", pad=1), encoder.stage1)
        eighth = self._stage(quarter, encoder.stage2)
        coarse = self._stage(eighth, encoder.stage3)
        x = self._decode(upsample(coarse.inner, encoder.parity), encoder.up3)
        x = self._decode(join(x, eighth.inner, encoder.parity), encoder.merge3)
        x = self._decode(upsample(x, encoder.parity), encoder.up2)
        x = self._decode(join(x, quarter.inner, encoder.parity), encoder.merge2)
        return self._mix(x, encoder.out)

    def _stem(self, photos: Tensor, conv: nn.Conv2d) -> Tensor:
        """Apply the first convolution, of stride 2, as one of stride 1 to cells of 2 × 2 pixels.

        Of 16 channels instead of 4, which on an H100 takes two fifths of the time.
        """
        odd = conv.kernel_size[0] % 2
        weight = functional.pixel_unshuffle(functional.pad(self.weights[conv], (0, odd) * 2), 2)
        return functional.conv2d(photos, weight)

    def _stage(self, x: NormedMap, blocks: nn.Sequential) -> NormedMap:
        for block in blocks:
            x = self._residual_block(x, block)  # type: ignore[arg-type]  # yields bare modules
        return x

    def _residual_block(self, x: NormedMap, block: ResidualBlock) -> NormedMap:
        y = norm_act_pad(self._convolve(x.padded, block.conv1), block.norm1, "relu", pad=1)
        shortcut = x.inner
        if len(block.shortcut):
            mix, norm = block.shortcut  # of stride 2: every block with one halves the resolution
            mixed = self._mix(x.every_second, mix)  # type: ignore[arg-type]
            shortcut = norm_act_pad(mixed, norm, "none", pad=0).inner  # type: ignore[arg-type]
        z = self._convolve(y.padded, block.conv2)
        return norm_act_pad(z, block.norm2, "relu", 1, shortcut)

    def _decode(self, padded: Tensor, layer: DecoderLayer) -> Tensor:
        return norm_act_pad(self._convolve(padded, layer.conv), layer.norm, "elu", pad=0).inner

    def _convolve(self, padded: Tensor, conv: nn.Conv2d) -> Tensor:
        """Apply a convolution without its bias to a map that has its border already."""
        return functional.conv2d(padded, self.weights[conv], stride=conv.stride)

    def _mix(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """Apply a 1×1 convolution, which on channels-last maps is one matrix product."""
        bias = None if conv.bias is None else conv.bias.to(x.dtype)
        # As rows: with more dimensions, the product depends on who asks for gradients.
        rows = x.permute(0, 2, 3, 1).flatten(0, 2)
        mixed = functional.linear(rows, self.weights[conv].flatten(1), bias)
        return mixed.view(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)
