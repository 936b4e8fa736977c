"""Random crops of pictures on the device, and where a crop's patches lie in other crops."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class Crops:
    """B rectangles, one in each of B pictures, in coordinates from -1 to 1 across the picture."""

    centre: Tensor  # (B, 2), x, y
    half: Tensor  # (B, 2), half width and half height; a negative width mirrors

    def grid(self, side: int) -> Tensor:  # (B, side, side, 2)
        """Return the middles of `side` × `side` equal cells of each crop, in its picture."""
        line = (torch.arange(side, device=self.half.device) + 0.5) / side * 2 - 1
        y, x = torch.meshgrid(line, line, indexing="ij")
        cells = torch.stack([x, y], dim=-1)
        return self.centre[:, None, None] + self.half[:, None, None] * cells

    def locate(
        self,
        points: Tensor,  # (B, h, w, 2), in the pictures
    ) -> Tensor:  # (B, h, w, 2), in the crops
        """Say where points of the pictures lie in the crops; inside is -1 to 1."""
        return (points - self.centre[:, None, None]) / self.half[:, None, None]


def draw_crops(n: int, area: tuple[float, float], aspect: float, device: torch.device) -> Crops:
    """Draw crops, nearly square in pixels, of these parts of the picture's area.

    Args:
        n: Number of crops.
        area: Smallest and largest part.
        aspect: Width over height of the picture.
        device: Where to draw.
    """
    part = torch.empty(n, device=device).uniform_(*area)
    lean = torch.empty(n, device=device).uniform_(-1, 1).mul(math.log(4 / 3)).exp()
    # With half sides a and b of picture's sides 1 and 1: a · b = part, a / b = lean / aspect.
    a = (part * lean / aspect).sqrt().clamp(max=1)
    b = (part / lean * aspect).sqrt().clamp(max=1)
    half = torch.stack([a, b], dim=-1)
    centre = (torch.rand(n, 2, device=device) * 2 - 1) * (1 - half)
    mirrored = torch.rand(n, device=device) < 0.5
    half[:, 0] = torch.where(mirrored, -half[:, 0], half[:, 0])
    return Crops(centre, half)


def cut(
    images: Tensor,  # (B, 3, H, W) uint8
    crops: Crops,
    side: int,
) -> Tensor:  # (B, 3, side, side), in [0, 1]
    """Cut crops out; every pixel is the mean of four samples, for crops larger than the result."""
    grid = crops.grid(2 * side)
    found = functional.grid_sample(
        images.float() / 255, grid, align_corners=False, padding_mode="reflection"
    )
    return functional.avg_pool2d(found, 2)


def vary_colours(
    rgb: Tensor,  # (B, 3, H, W), in [0, 1]
    strength: float,
) -> Tensor:
    """Change brightness, contrast, saturation and tint of each picture; blur some."""
    n = len(rgb)

    def factor(spread: float) -> Tensor:
        return torch.empty(n, 1, 1, 1, device=rgb.device).uniform_(-spread, spread).exp()

    tint = torch.empty(n, 3, 1, 1, device=rgb.device).uniform_(-0.15, 0.15).mul(strength).exp()
    out = rgb * factor(0.5 * strength) * tint
    grey = out.mean(dim=1, keepdim=True)
    out = grey + (out - grey) * factor(0.5 * strength)
    middle = out.mean(dim=(1, 2, 3), keepdim=True)
    out = middle + (out - middle) * factor(0.5 * strength)
    soft = functional.avg_pool2d(out, 3, stride=1, padding=1, count_include_pad=False)
    blurred = torch.rand(n, 1, 1, 1, device=rgb.device) < 0.25
    return torch.where(blurred, soft, out).clamp(0, 1)


def normalise(rgb: Tensor) -> Tensor:
    """Scale colours as the network takes them."""
    mean = rgb.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = rgb.new_tensor(IMAGENET_STD)[:, None, None]
    return (rgb - mean) / std


def sample_cells(
    values: Tensor,  # (B, C, h, w)
    at: Tensor,  # (B, a, b, 2)
) -> tuple[Tensor, Tensor]:  # (B, C, a, b), (B, a, b) bool
    """Fetch cells at places from -1 to 1, and say which places lie inside."""
    inside = (at.abs() < 1).all(dim=-1)
    found = functional.grid_sample(values, at, align_corners=False, padding_mode="border")
    return found, inside


def follow(
    warp: Tensor,  # (B, h, w, 2)
    points: Tensor,  # (B, a, b, 2)
) -> Tensor:  # (B, a, b, 2)
    """Carry points of pictures to their partners; those not seen there come to lie outside."""
    field = warp.permute(0, 3, 1, 2).float()
    # Nearest: a mean of a seen and an unseen place would be a wrong one.
    found = functional.grid_sample(field, points, mode="nearest", align_corners=False)
    return found.permute(0, 2, 3, 1)
