"""Steps without a finite gradient are left out; the device decides, the host need not wait."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOST_STEPS = 10  # left out in a row before a run is given up


class FiniteSteps:
    """Keeps a fused Adam from steps whose gradient is not finite.

    Its running means would never forget one. The optimiser reads `left_out` on the device and,
    where it is 1, leaves weights, running means and their counts as they are.
    """

    def __init__(self, optimiser: torch.optim.Adam, device: torch.device) -> None:
        self.left_out = torch.zeros((), device=device)  # 1 if the present step is, else 0
        self.in_a_row = torch.zeros((), device=device)  # the last so many steps were left out
        optimiser.found_inf = self.left_out  # type: ignore[attr-defined]

    def judge(self, parameters: Iterable[nn.Parameter]) -> None:
        """Look at the gradients; called before the step of the optimiser."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.left_out.copy_(~torch.nn.utils.get_total_norm(gradients).isfinite())
        self.in_a_row.add_(1).mul_(self.left_out)

    def masked(self, value: Tensor) -> Tensor:
        """Return a value of the present step, 0 if the step is left out."""
        return value.masked_fill(self.left_out > 0, 0.0)

    def check(self, step: int) -> None:
        """Read from the device whether the run still learns.

        Raises:
            ValueError: Step after step up to this one had no finite gradient.
        """
        in_a_row = int(self.in_a_row)
        if in_a_row >= MOST_STEPS:
            raise ValueError(
                f"step {step}: {in_a_row} steps in a row had no finite gradient: the weights have "
                "diverged. Lower the rates of the optimiser; the last checkpoint is sound"
            )
