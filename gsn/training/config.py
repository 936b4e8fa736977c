"""Settings of a training run."""

from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from gsn.training.batches import BatchConfig
from gsn.training.losses import LossConfig
from gsn.training.optimiser import OptimiserConfig


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class TrainingConfig:
    """What both stages set in their section of params.yaml."""

    max_steps: PositiveInt  # in all, not for each start
    seed: NonNegativeInt
    log_every: PositiveInt  # steps that one point of the curves is the mean of
    checkpoint_every: PositiveInt  # steps; a killed run loses at most so many
    batch: BatchConfig
    optimiser: OptimiserConfig
    loss: LossConfig

    def __post_init__(self) -> None:
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every ({self.checkpoint_every}) must be a multiple of log_every "
                f"({self.log_every}), so that a resumed run writes the same curves"
            )
