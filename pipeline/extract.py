"""Stage `extract`: run the teacher over every prepared view and keep its feature maps.

in   data/prepared/<scene>.h5                photographs
out  data/features/<teacher>/<scene>.zarr    float16 (V, h, w, C), one chunk a view
     data/features/<teacher>/basis.npz       with `keep_raw: false`: C are coefficients in it
     data/features/<teacher>/prompts.npz     if the teacher reads text and there are prompts

The output is brought up to date: only maps that are missing, or were made of another photograph
or by another teacher, are computed. Maps that give way to those of other settings are kept beside
the output (`gsn.features.archive`).
"""

import logging
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.captures.pack import PackError
from gsn.captures.survey import PackSurvey, survey_packs
from gsn.extraction.embed_prompts import keep_prompts
from gsn.extraction.fit_basis import BasisPlan, fit_basis
from gsn.extraction.kept_basis import find_basis, keep_basis
from gsn.extraction.make_maps import make_maps, plan_updates
from gsn.extraction.price import DiskSpaceError, tell_price, tell_price_of_all
from gsn.features.archive import Archive
from gsn.features.basis import Basis, BasisError
from gsn.features.update import drop_all_but
from gsn.teachers import load_teacher
from gsn.teachers.teacher import Teacher, TeacherConfig
from pipeline.command import (
    DEFAULT_PARAMS,
    DeviceName,
    ParamsFile,
    PreparedFolder,
    mend,
    remedy,
    run_stage,
)
from pipeline.config import STRICT, ScenesConfig, load_section
from pipeline.device import pick_device

log = logging.getLogger(__name__)
NO_ROOM = (
    "free space, set `extract.keep_raw: false` or lower `extract.kept_dims`, or choose another "
    "layer of the teacher"
)
NO_BASIS = "check `extract.kept_dims`, or the teacher's weights"


@config_dataclass(frozen=True, config=STRICT)
class ExtractConfig:
    """Section `extract` of params.yaml."""

    keep_raw: bool  # true: all channels of the teacher; false: coefficients in a PCA basis
    kept_dims: PositiveInt  # of that basis, with keep_raw false


def extract(
    packs: list[Path],
    out: Path,
    teacher: Teacher,
    cfg: ExtractConfig,
    device: torch.device,
    fit_scenes: Collection[str],
    prompts: Sequence[str] = (),
) -> None:
    """Bring the stores in `out` up to date: a map of each view of each pack, and no others.

    A map on the CPU has the same bits whatever else is missing; on CUDA too, unless so much is
    missing that the teacher is compiled. With keep_raw false the basis is fitted on the views of
    `fit_scenes` that are not held out. The teacher must be on `device`.

    Raises:
        OSError: A pack is missing, or the maps do not fit the disk.
        ValueError: The teacher gives a value that float16 cannot hold, or refuses a photograph.
    """
    started = time.monotonic()
    surveys, archive = survey_packs(packs), Archive(out)
    if not teacher.trained:
        log.warning("%s has untrained weights: its maps serve for trials only", teacher.name)
    with logging_redirect_tqdm(), remedy(NO_ROOM, DiskSpaceError), remedy(NO_BASIS, BasisError):
        basis = None
        if not cfg.keep_raw:
            plan = BasisPlan.of(surveys, teacher, cfg.kept_dims, fit_scenes)
            basis = basis_of(plan, surveys, out, teacher, device)
        updates = plan_updates(surveys, out, teacher, basis)
        n_made, n_reused = tell_price(updates.values(), out)
        # Before the maps: those of a run that ends between the two are of another teacher than
        # the prompts, or missing, and `reduce` refuses both.
        keep_prompts(teacher, prompts, out)
        with tqdm(total=n_made, desc=teacher.name, unit="view", disable=not n_made) as progress:
            make_maps(surveys, updates, teacher, basis, device, progress.update)
    keep_basis(out, archive, basis)
    n_dropped = drop_all_but(out, [survey.scene for survey in surveys], archive)
    log.info("%d maps made, %d reused, %d stores dropped", n_made, n_reused, n_dropped)
    log.info("%d scenes in %s, %.1f s", len(packs), out, time.monotonic() - started)


def basis_of(
    plan: BasisPlan, surveys: list[PackSurvey], out: Path, teacher: Teacher, device: torch.device
) -> Basis:
    """Find the basis of what is kept, or fit it in a pass of its own."""
    archive, n_views = Archive(out), len(plan.views)
    basis = find_basis(out, archive, plan.made_by)
    if basis is None:
        tell_price_of_all(surveys, out, teacher, plan.dims, n_views)
        with tqdm(total=n_views, desc=f"{teacher.name}, basis", unit="view") as progress:
            basis = fit_basis(plan, teacher, device, progress.update)
        keep_basis(out, archive, basis)
    return basis


@mend("prepare", PackError)
def main(
    prepared: PreparedFolder,
    out: Annotated[Path, typer.Argument(help="Folder of feature maps to bring up to date.")],
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
) -> None:
    """Compute the teacher's feature maps of all views."""
    scenes = load_section(params, "scenes", ScenesConfig)
    config = load_section(params, "teacher", TeacherConfig)
    cfg = load_section(params, "extract", ExtractConfig)
    place = pick_device(device)
    packs = [prepared / f"{name}.h5" for name in scenes.all_scenes]
    extract(packs, out, load_teacher(config, place), cfg, place, scenes.train, config.prompts)


if __name__ == "__main__":
    run_stage(main)
