"""The feature CNN: every source photo becomes a map of features at a quarter of its size.

A ResNet-34 stem and its first three stages with instance normalisation, and two upsampling steps
with skip connections, as IBRNet (arXiv 2102.13090) uses it. Trained from scratch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

ENCODER_STRIDE_PX = 4  # pixels from cell to cell of the map
SMALLEST_SIDE_PX = 16  # one cell at the coarsest level, which has no spread to normalise by


class Encoder(nn.Module):
    """Photos (V, 3, H, W) in [0, 1] → feature maps (V, channels, ⌈H/4⌉, ⌈W/4⌉).

    Cell (i, j) is centred on pixel index (4i, 4j): strided convolutions start at pixel 0 and the
    upsampling keeps that. The published code stretches instead, so that cells drift by up to one
    cell across the image and the map is a little larger; `parity` repeats that.
    """

    def __init__(
        self, width: int, blocks: tuple[int, int, int], channels: int, parity: bool
    ) -> None:
        super().__init__()
        self.parity = parity
        self.stem = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False, padding_mode="reflect")
        self.stem_norm = _norm(width)
        self.stage1 = _stage(width, width, blocks[0])
        self.stage2 = _stage(width, 2 * width, blocks[1])
        self.stage3 = _stage(2 * width, 4 * width, blocks[2])
        self.up3 = DecoderLayer(4 * width, 2 * width)
        self.merge3 = DecoderLayer(4 * width, 2 * width)
        self.up2 = DecoderLayer(2 * width, width)
        self.merge2 = DecoderLayer(2 * width, channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Encode all photos at once.

        Raises:
            ValueError: They are too small for four halvings.
        """
        if min(images.shape[-2:]) <= SMALLEST_SIDE_PX:
            raise ValueError(
                f"photos of {images.shape[-1]}×{images.shape[-2]} px: the encoder needs more than "
                f"{SMALLEST_SIDE_PX} px on each side"
            )
        x = torch.relu(self.stem_norm(self.stem(images)))
        quarter = self.stage1(x)
        eighth = self.stage2(quarter)
        x = self.stage3(eighth)
        x = self._join(self.up3(self._upsample(x)), eighth)
        x = self.merge3(x)
        x = self._join(self.up2(self._upsample(x)), quarter)
        return self.out(self.merge2(x))  # type: ignore[no-any-return]

    def _upsample(self, x: Tensor) -> Tensor:
        """Double the resolution; without `parity` new cell 2i lies exactly on old cell i."""
        h, w = x.shape[-2:]
        size = (2 * h, 2 * w) if self.parity else (2 * h - 1, 2 * w - 1)
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)

    def _join(self, x: Tensor, skip: Tensor) -> Tensor:
        """Concatenate, after bringing both to one size at their right and bottom."""
        missing = [skip.shape[-1] - x.shape[-1], skip.shape[-2] - x.shape[-2]]
        if self.parity:
            skip = functional.pad(skip, (0, -missing[0], 0, -missing[1]))
        else:
            x = functional.pad(x, (0, missing[0], 0, missing[1]), mode="replicate")
        return torch.cat([x, skip], dim=1)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels_in, channels, stride)
        self.norm1 = _norm(channels)
        self.conv2 = _conv3x3(channels, channels)
        self.norm2 = _norm(channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), _norm(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(V, C, h, w) → (V, C', h/stride, w/stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        # Not in place: writing into the output of an instance norm makes autograd copy it.
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class DecoderLayer(nn.Module):
    """Convolution, instance norm, ELU."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv = _conv3x3(channels_in, channels, bias=True)
        self.norm = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(V, C, h, w) → (V, C', h, w)."""
        return functional.elu(self.norm(self.conv(x)))


def _stage(channels_in: int, channels: int, n_blocks: int) -> nn.Sequential:
    """Return residual blocks, the first of which halves the resolution."""
    first = ResidualBlock(channels_in, channels, stride=2)
    return nn.Sequential(
        first, *(ResidualBlock(channels, channels, 1) for _ in range(n_blocks - 1))
    )


def _conv3x3(channels_in: int, channels: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=bias, padding_mode="reflect")


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)
