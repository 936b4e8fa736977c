"""Windows of a photograph through a CLIP or SigLIP image tower, each as if it were a photograph."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gsn.geometry.cell_grid import CellGrid
from gsn.teachers.preprocessing import Preprocessing
from gsn.teachers.teacher import ClipConfig

WINDOWS_AT_A_TIME = 128  # at most; a bound on memory, the result does not depend on it


class WindowReader:
    """A photograph → one vector a window, of unit length, in the joint space.

    Windows start at the upper left corner and follow each other at the stride, both in pixels of
    the photograph as resized by `long_side_px`; what is left beyond the last whole one is dropped.
    Each is resized (bicubic, with a low-pass where it shrinks) to what the tower was trained on.

    Windows of several sizes have one map each, and the cells of the smallest size give the grid:
    the maps of larger ones are fetched there bilinearly, by the position of their centres, and at
    the rim from the nearest window. `mean` averages the vectors of all sizes and makes the mean
    unit length; `concat` puts them side by side, from the smallest window to the largest.
    """

    def __init__(
        self,
        network: Any,  # noqa: ANN401  (open_clip has no types)
        config: ClipConfig,
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> None:
        """Read an open_clip network.

        Raises:
            ValueError: A size of windows is given twice.
        """
        self.sizes = sorted(config.window_px)
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"clip.window_px: expected different sizes, got {config.window_px}")
        self._stride = config.window_stride_px
        self._merge = config.merge
        self.copies = len(self.sizes) if config.merge == "concat" else 1
        self._input_px = tuple(network.visual.image_size)
        self._encode: Any = network.encode_image
        mean, std = (
            torch.tensor(colour, device=device)[:, None, None]
            for colour in (preprocessing.mean, preprocessing.std)
        )
        self._black, self._white = -mean / std, (1 - mean) / std

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of an image of this size, as the network sees it."""
        largest, smallest = self.sizes[-1], self.sizes[0]
        if min(height, width) < largest:
            raise ValueError(
                f"an image of {height}×{width} pixels is smaller than one window of "
                f"{largest}×{largest}; choose smaller `clip.window_px` or a larger `long_side_px`"
            )
        rows, columns = ((side - smallest) // self._stride + 1 for side in (height, width))
        return rows, columns

    def grid(self) -> CellGrid:
        """Return where the centres of the smallest windows lie in that image."""
        first = (self.sizes[0] - 1) / 2
        return CellGrid((first, first), (float(self._stride), float(self._stride)))

    def describe(self) -> dict[str, object]:
        """Return the settings that count, for the fingerprint."""
        settings: dict[str, object] = {
            "mode": "windows",
            "window_px": self.sizes,
            "window_stride_px": self._stride,
        }
        return settings | ({"merge": self._merge} if len(self.sizes) > 1 else {})

    def compile(self) -> None:
        """Make later passes faster."""
        self._encode = torch.compile(self._encode)

    def __call__(
        self,
        rgb: Tensor,  # (B, 3, H, W), normalised
    ) -> Tensor:  # (B, h, w, C) float32, C times the number of sizes for `concat`
        """Compute the maps."""
        rows, columns = self.grid_size(rgb.shape[2], rgb.shape[3])
        maps = []
        for side in self.sizes:
            shift = (self.sizes[0] - side) / 2 / self._stride  # between centres, in cells
            found = fetch_shifted(self._windows(rgb, side), 1, shift, rows)
            found = fetch_shifted(found, 2, shift, columns)
            maps.append(functional.normalize(found, dim=-1))
        if self._merge == "concat":
            return torch.cat(maps, dim=-1) / math.sqrt(len(maps))
        return functional.normalize(torch.stack(maps).mean(dim=0), dim=-1)

    def _windows(self, rgb: Tensor, side: int) -> Tensor:  # (B, h, w, C)
        """Encode all windows of one size, a bounded number at a time."""
        tiles = rgb.unfold(2, side, self._stride).unfold(3, side, self._stride)
        tiles = tiles.permute(0, 2, 3, 1, 4, 5)  # (B, h, w, 3, side, side), a view
        n_windows = tiles.shape[:3].numel()
        # Parts of nearly one size: two sizes at most, for a compiled network.
        parts = torch.arange(n_windows, device=rgb.device).tensor_split(
            -(-n_windows // WINDOWS_AT_A_TIME)
        )
        vectors = [
            self._encode(self._resize(tiles[torch.unravel_index(part, tiles.shape[:3])])).float()
            for part in parts
        ]
        unit = functional.normalize(torch.cat(vectors), dim=-1)
        return unit.reshape(*tiles.shape[:3], -1)

    def _resize(self, windows: Tensor) -> Tensor:
        if windows.shape[2:] == self._input_px:
            return windows
        resized = functional.interpolate(windows, self._input_px, mode="bicubic", antialias=True)
        # Bicubic weights overshoot; a photograph has nothing beyond black and white.
        return torch.clamp(resized, self._black, self._white)


def fetch_shifted(
    maps: Tensor,  # (B, h, w, C)
    axis: int,
    shift: float,
    n_cells: int,
) -> Tensor:  # (B, n_cells, w, C) for axis 1, (B, h, n_cells, C) for axis 2
    """Fetch at `shift`, `shift` + 1, ... along an axis: linear, beyond the rim the rim itself."""
    positions = torch.arange(n_cells, device=maps.device) + shift
    positions = positions.clamp(0, maps.shape[axis] - 1)
    lower = positions.floor().long()
    upper = (lower + 1).clamp(max=maps.shape[axis] - 1)
    weight = (positions - lower).reshape([-1 if k == axis else 1 for k in range(4)])
    return torch.lerp(maps.index_select(axis, lower), maps.index_select(axis, upper), weight)
