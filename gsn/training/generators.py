"""The random numbers that batches are drawn with."""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

log = logging.getLogger(__name__)
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
        """Go back to where `state` was taken.

        A run that began on another kind of device cannot go on with its random numbers there, and
        draws others.
        """
        self.host.set_state(state["host"])
        if state["device"].shape == self.device.get_state().shape:
            self.device.set_state(state["device"])
            return
        log.warning("the run began on another kind of device: pixels and depths are drawn anew")
        again = torch.Generator()
        again.set_state(state["host"])
        self.device.manual_seed(int(torch.randint(_SEEDS, (), generator=again)))
