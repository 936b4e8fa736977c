"""From photographs to what a network takes: size, scale of values; the same for every teacher."""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from gsn.checks import check_shape
from gsn.geometry.cell_grid import CellGrid

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """Resize (with a low-pass where it shrinks), then (RGB - mean) / std.

    Nothing is cropped or padded here: what a network cannot use of the lower and right border is
    the adapter's to drop, and `remainder` says how.
    """

    mean: Colour
    std: Colour
    long_side_px: int | None  # of the photograph as the network sees it; None: its own
    remainder: str = "dropped at the bottom and on the right"
    resample: Literal["bicubic", "bilinear"] = "bicubic"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the resized photograph."""
        if self.long_side_px is None:
            return height, width
        scale = self.long_side_px / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def __call__(
        self,
        images: Tensor,  # (B, H, W, 3) uint8, on any device
        device: torch.device,
    ) -> Tensor:  # (B, 3, H', W') float32, on `device`
        """Prepare photographs.

        Raises:
            ValueError: `images` is not (B, H, W, 3), or not uint8.
        """
        size = check_shape("images", images, "B H W 3")
        if images.dtype != torch.uint8:
            raise ValueError(f"images: expected uint8 in [0, 255], got {images.dtype}")
        rgb = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        wanted = self.size(size["H"], size["W"])
        if wanted != (size["H"], size["W"]):
            resized = functional.interpolate(rgb, wanted, mode=self.resample, antialias=True)
            rgb = resized.clamp(0, 1)
        mean, std = (torch.tensor(c, device=device)[:, None, None] for c in (self.mean, self.std))
        return (rgb - mean) / std

    def grid(self, resized: CellGrid, height: int, width: int) -> CellGrid:
        """Carry a grid on the resized photograph back to the photograph of this size."""
        rows, columns = self.size(height, width)
        return resized.scaled((height / rows, width / columns))

    def describe(self) -> dict[str, object]:
        """Return its settings as plain values, for a fingerprint."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
