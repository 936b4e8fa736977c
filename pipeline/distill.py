"""Stage `distill` (stage II): add the feature head and train everything on colour and features.

in   data/prepared/<scene>.h5               packs of the training scenes
     data/targets/<teacher>/<scene>.zarr    what the head is to render
     models/pretrain.pt                     weights to start from
out  models/distill/<teacher>.pt            weights, and all that is needed to go on training
     reports/distill/                       curves of loss, PSNR and feature cosine
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic.dataclasses import dataclass

from gsn.captures.pack import PackError
from gsn.features.basis import BasisError
from gsn.features.store import StoreError
from gsn.fingerprint import sha256_of_file
from gsn.model.checkpoint import CheckpointError, load_checkpoint, load_stage_one
from gsn.model.network import GsnModel
from gsn.model.scene import describe_targets
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
    TargetsFolder,
    mend,
    run_stage,
)
from pipeline.config import STRICT, ScenesConfig, load_section
from pipeline.curves import Curves
from pipeline.device import pick_device
from pipeline.leakage import check_no_leakage


@dataclass(frozen=True, config=STRICT)
class DistillConfig:
    """Section `distill` of params.yaml; the sizes of the network are those of stage I."""

    training: TrainingConfig


def distill(
    packs: list[Path],
    targets: Path,
    start: Path,
    out: Path,
    cfg: DistillConfig,
    device: torch.device,
    on_row: OnRow,
    unseen: Sequence[str] = (),
    resident_bytes: int | None = None,
    use_kernels: bool = True,
) -> None:
    """Train on the given packs and targets; continues the same run if `out` holds part of it."""
    first = load_checkpoint(start)
    scenes = load_scenes(packs, device, targets, resident_bytes)
    targets_of = describe_targets(scenes)
    torch.manual_seed(cfg.training.seed)
    model = GsnModel(first.model_config, targets_of.channels)
    model.use_kernels = use_kernels
    load_stage_one(model, first)
    origin = Origin.describe(
        cfg.training,
        packs,
        start={"model": sha256_of_file(start), "targets": targets_of.sha256},
        basis_sha256=targets_of.basis_sha256,
        earlier_scenes=first.train_scenes,
        earlier_photographs=first.photographs,
    )
    train(Trainer(model.to(device), scenes, cfg.training, origin), out, on_row, unseen)


@mend("prepare", PackError)
@mend("reduce", StoreError, BasisError)
@mend("pretrain", CheckpointError)
def main(
    prepared: PreparedFolder,
    targets: TargetsFolder,
    start: Annotated[Path, typer.Argument(help="Model file of stage I.")],
    out: Annotated[Path, typer.Argument(help="Model file to write.")],
    curves: Annotated[Path, typer.Argument(help="Folder for the curves.")],
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
    resident_bytes: ResidentBytes = None,
    kernels: Kernels = True,
) -> None:
    """Train stage II."""
    cfg = load_section(params, "distill", DistillConfig)
    scenes = load_section(params, "scenes", ScenesConfig)
    first = load_checkpoint(start)
    first.check_finished(start)
    learnt_from = [*scenes.train, *first.train_scenes]
    check_no_leakage(prepared, scenes.test, learnt_from, first.photographs)
    packs = [prepared / f"{name}.h5" for name in scenes.train]
    place = pick_device(device)
    with Curves(curves) as points:
        limits = (scenes.test, resident_bytes, kernels)
        distill(packs, targets, start, out, cfg, place, points.add, *limits)


if __name__ == "__main__":
    run_stage(main)
