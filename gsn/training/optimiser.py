"""Adam with one learning rate for each part of the model, and its schedule."""

from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from gsn.model.network import GsnModel

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class OptimiserConfig:
    """Section `<stage>.optimiser` of params.yaml."""

    encoder_rate: Rate
    renderer_rate: Rate
    head_rate: Rate  # of the feature head; unused in stage I
    warmup_steps: NonNegativeInt  # the rates rise linearly over these
    decay_steps: PositiveInt  # the rates are multiplied by `decay_factor` after each so many steps
    decay_factor: Annotated[float, Field(gt=0, le=1)]


def build_optimiser(model: GsnModel, config: OptimiserConfig) -> torch.optim.Adam:
    """Return Adam over all parts; the full rate of each part is kept in its group.

    Fused: a few kernels for all weights, which need no answer from the device, and which heed
    `gsn.training.finite_steps`.
    """
    groups = [
        {"params": list(model.encoder.parameters()), "base_rate": config.encoder_rate},
        {"params": list(model.renderer.parameters()), "base_rate": config.renderer_rate},
    ]
    if model.feature_head is not None:
        head = list(model.feature_head.parameters())
        groups.append({"params": head, "base_rate": config.head_rate})
    optimiser = torch.optim.Adam(groups, lr=config.renderer_rate, fused=True)
    device = next(model.parameters()).device
    if device.type == "cuda":
        keep_rates_on(optimiser, device)
    return optimiser


def keep_rates_on(optimiser: torch.optim.Adam, device: torch.device) -> None:
    """Let Adam read its rates from tensors of a device: so they reach a step that is replayed."""
    for group in optimiser.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=device)
        group["capturable"] = True


def restore_optimiser(optimiser: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Load running means; where rates are kept is a matter of the machine, and stays."""
    own = [{key: group[key] for key in ("lr", "capturable")} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, kept in zip(optimiser.param_groups, own, strict=True):
        group.update(kept)


def set_rates(optimiser: torch.optim.Optimizer, config: OptimiserConfig, step: int) -> None:
    """Set the rates for a step (counted from 0).

    A function of the step alone: independent of when training is to end, so that a longer run
    starts as the shorter one did.
    """
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay = config.decay_factor ** (step // config.decay_steps)
    for group in optimiser.param_groups:
        rate = group["base_rate"] * warmup * decay
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
