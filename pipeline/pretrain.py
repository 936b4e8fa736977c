"""Stage `pretrain` (stage I): train encoder and renderer on colour alone.

in   data/prepared/<scene>.h5     packs of the training scenes
out  models/pretrain.pt           weights, and all that is needed to go on training
     reports/pretrain/            curves of loss and PSNR
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic.dataclasses import dataclass

from gsn.captures.pack import PackError
from gsn.model.network import GsnModel, ModelConfig
from gsn.training.config import TrainingConfig
from gsn.training.loop import OnRow, Trainer, train
from gsn.training.origin import Origin
from gsn.training.residence import load_scenes
from pipeline.command import (
    DEFAULT_PARAMS,
    DeviceName,
    Kernels,
    ParamsFile,
    PreparedFolder,
    ResidentBytes,
    mend,
    run_stage,
)
from pipeline.config import STRICT, ScenesConfig, load_section
from pipeline.curves import Curves
from pipeline.device import pick_device
from pipeline.leakage import check_no_leakage

log = logging.getLogger(__name__)


@dataclass(frozen=True, config=STRICT)
class PretrainConfig:
    """Section `pretrain` of params.yaml."""

    model: ModelConfig
    training: TrainingConfig


def pretrain(
    packs: list[Path],
    out: Path,
    cfg: PretrainConfig,
    device: torch.device,
    on_row: OnRow,
    unseen: Sequence[str] = (),
    resident_bytes: int | None = None,
    use_kernels: bool = True,
) -> None:
    """Train on the given packs; continues the same run if `out` holds part of it.

    Raises:
        ValueError: The run that would go on has learnt from a scene that must stay `unseen`.
    """
    torch.manual_seed(cfg.training.seed)
    model = GsnModel(cfg.model).to(device)
    model.use_kernels = use_kernels
    scenes = load_scenes(packs, device, limit_bytes=resident_bytes)
    origin = Origin.describe(cfg.training, packs, start=asdict(cfg.model))
    train(Trainer(model, scenes, cfg.training, origin), out, on_row, unseen)


@mend("prepare", PackError)
def main(
    prepared: PreparedFolder,
    out: Annotated[Path, typer.Argument(help="Model file to write.")],
    curves: Annotated[Path, typer.Argument(help="Folder for the curves.")],
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
    resident_bytes: ResidentBytes = None,
    kernels: Kernels = True,
) -> None:
    """Train stage I."""
    cfg = load_section(params, "pretrain", PretrainConfig)
    scenes = load_section(params, "scenes", ScenesConfig)
    check_no_leakage(prepared, scenes.test, scenes.train)
    packs = [prepared / f"{name}.h5" for name in scenes.train]
    place = pick_device(device)
    with Curves(curves) as points:
        pretrain(packs, out, cfg, place, points.add, scenes.test, resident_bytes, kernels)


if __name__ == "__main__":
    run_stage(main)
