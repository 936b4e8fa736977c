"""Random but smooth functions of space, the raw material of wood, marble and wear."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PERIOD = 32  # lattice points in each direction before the values repeat
TURN = (  # a rotation about no axis of the lattice
    (0.36, 0.48, -0.80),
    (-0.80, 0.60, 0.00),
    (0.48, 0.64, 0.60),
)


class Noise:
    """Value noise: random numbers on a lattice, eased from point to point."""

    def __init__(self, seed: int, device: torch.device) -> None:
        values = np.random.default_rng(seed).random((PERIOD,) * 3, dtype=np.float32) * 2 - 1
        self.values = torch.from_numpy(values).to(device)
        # One lattice point more on each side, so that the last interval has both its ends.
        wrapped = np.pad(values, (0, 1), mode="wrap")
        self.lattice = torch.from_numpy(wrapped).to(device)[None, None]

    def __call__(self, p: Tensor) -> Tensor:
        """Return values in [-1, 1] at points (3, R); they vary over one unit."""
        p = p.remainder(PERIOD)
        whole = p.floor()
        part = p - whole
        eased = whole + part * part * (3 - 2 * part)
        grid = (eased * (2 / PERIOD) - 1).flip(0).T.reshape(1, 1, 1, -1, 3)
        return F.grid_sample(
            self.lattice, grid, align_corners=True, padding_mode="border"
        ).flatten()

    def layered(self, p: Tensor, n_layers: int) -> Tensor:
        """Add noise of halved scale and strength, `n_layers` times; the sum is in (-1, 1)."""
        total = torch.zeros_like(p[0])
        turn = p.new_tensor(TURN)
        for layer in range(n_layers):
            # Turned and shifted, or the lattices of all layers would line up and show.
            p = turn @ p + 7.3
            total = total + self(p * 2.0**layer) * 0.5 ** (layer + 1)
        return total

    def of_cell(self, i: Tensor, j: Tensor) -> Tensor:
        """Return one value in [-1, 1] for each cell with whole numbers `i`, `j` (R,)."""
        i, j = i.to(torch.int64), j.to(torch.int64)
        return self.values[i % PERIOD, j % PERIOD, (i // PERIOD + 5 * (j // PERIOD)) % PERIOD]
