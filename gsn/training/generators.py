"""The random numbers that batches are drawn with."""

from dataclasses import dataclass

import torch
from torch import Tensor

_SEEDS = 2**63 - 1


@dataclass(frozen=True)
class Generators:
    """Two generators, so that neither host nor device asks the other for random numbers."""

    host: torch.Generator  # chooses scene and views
    device: torch.Generator  # draws pixels and depths

    @staticmethod
    def seeded(seed: int, device: torch.device) -> "Generators":
        """Return generators for a device; each follows from `seed`, with numbers of its own."""
        host = torch.Generator().manual_seed(seed)
        drawn = int(torch.randint(_SEEDS, (), generator=host))
        return Generators(host, torch.Generator(device).manual_seed(drawn))

    def state(self) -> dict[str, Tensor]:
        """Return both states, on the CPU."""
        return {"host": self.host.get_state(), "device": self.device.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        self.host.set_state(state["host"])
        self.device.set_state(state["device"])
