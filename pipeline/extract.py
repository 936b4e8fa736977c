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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.captures.survey import PackSurvey, View, survey_packs
from gsn.features.archive import Archive
from gsn.features.basis import Basis
from gsn.features.kept_basis import coefficients_made_by, keep_basis
from gsn.features.store import StoreHeader, map_fingerprint
from gsn.features.stream import Behind, HostMaps, side_stream
from gsn.features.update import StoreUpdate, drop_all_but, store_path
from gsn.teachers import load_teacher
from gsn.teachers.teacher import Teacher, TeacherConfig
from pipeline.command import DEFAULT_PARAMS, DeviceName, ParamsFile, PreparedFolder, run_stage
from pipeline.config import STRICT, ScenesConfig, load_section
from pipeline.device import pick_device
from pipeline.embed_prompts import keep_prompts
from pipeline.fit_kept_basis import basis_of
from pipeline.price import tell_price
from pipeline.teacher_pass import teacher_pass

log = logging.getLogger(__name__)
N_THREADS = 4  # that write maps, or read those that are there already
# Compiling takes 30 to 60 s and, on an H100 with a ViT-B/8 at 376 × 504, brings 412 images/s to
# 477: 0.33 ms a view, so it pays from about 10^5 views.
COMPILE_FROM_VIEWS = 100_000


@config_dataclass(frozen=True, config=STRICT)
class ExtractConfig:
    """Section `extract` of params.yaml."""

    keep_raw: bool  # true: all channels of the teacher; false: coefficients in a PCA basis
    kept_dims: PositiveInt  # of that basis, with keep_raw false


@torch.inference_mode()
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
    missing that the teacher is compiled.

    Args:
        packs: One file a scene.
        out: Folder of the stores.
        teacher: On `device`.
        cfg: What is kept.
        device: Where to compute.
        fit_scenes: With keep_raw false: the basis is fitted on their views that are not held out.
        prompts: Texts to embed, if the teacher reads any.

    Raises:
        OSError: A pack is missing, or the maps do not fit the disk.
        ValueError: The teacher gives a value that float16 cannot hold, or refuses a photograph.
    """
    started = time.monotonic()
    surveys, archive = survey_packs(packs), Archive(out)
    if not teacher.trained:
        log.warning("%s has untrained weights: its maps serve for trials only", teacher.name)
    with logging_redirect_tqdm():
        keep_prompts(teacher, prompts, out)
        basis = None
        if not cfg.keep_raw:
            basis = basis_of(surveys, out, teacher, cfg.kept_dims, device, fit_scenes)
        updates = plan(surveys, out, teacher, basis)
        n_missing, n_reused = tell_price(list(updates.values()), out)
        make_maps(surveys, updates, teacher, basis, device)
    keep_basis(out, archive, basis)
    n_dropped = drop_all_but(out, [survey.scene for survey in surveys], archive)
    log.info("%d maps made, %d reused, %d stores dropped", n_missing, n_reused, n_dropped)
    log.info("%d scenes in %s, %.1f s", len(packs), out, time.monotonic() - started)


def plan(
    surveys: list[PackSurvey], out: Path, teacher: Teacher, basis: Basis | None
) -> dict[Path, StoreUpdate]:
    """Compare the store of each pack with what the pack, the teacher and the basis ask for."""
    archive = Archive(out)
    made_by = teacher.fingerprint
    channels = teacher.channels
    if basis is not None:
        made_by, channels = coefficients_made_by(made_by, basis), len(basis.components)

    def plan_one(survey: PackSurvey) -> StoreUpdate:
        header = StoreHeader(
            made_by=made_by,
            view_names=survey.view_names,
            fingerprints=tuple(map_fingerprint(made_by, image) for image in survey.image_sha256),
            map_shape=(*teacher.grid_size(*survey.image_size), channels),
            cell_grid=teacher.grid(*survey.image_size),
            image_size=survey.image_size,
        )
        return StoreUpdate(store_path(out, survey.scene), header, archive)

    with ThreadPoolExecutor(N_THREADS) as pool:
        updates = pool.map(plan_one, surveys)
        return {survey.path: update for survey, update in zip(surveys, updates, strict=True)}


def make_maps(
    surveys: list[PackSurvey],
    updates: dict[Path, StoreUpdate],
    teacher: Teacher,
    basis: Basis | None,
    device: torch.device,
) -> None:
    """Compute the missing maps of all scenes and publish their stores."""
    on_cuda = device.type == "cuda"
    project = Tensor.half if basis is None else basis.projector(device)
    stream = side_stream(device)
    views = [View(survey, view) for survey in surveys for view in updates[survey.path].missing]
    if on_cuda and len(views) >= COMPILE_FROM_VIEWS:
        teacher.compile()

    def write(batch: list[View], maps: HostMaps) -> None:
        values, finite = maps.arrived()
        for view, one, is_finite in zip(batch, values, finite, strict=True):
            if not is_finite:
                raise ValueError(
                    f"{view.place}: {teacher.name} gives NaN or a value beyond the range of "
                    "float16; check its weights"
                )
            updates[view.pack.path].take(view.number, one)

    for update in updates.values():
        if not update.missing and not update.is_current:
            update.begin()
            update.finish()
    with (
        teacher_pass(views, teacher, device, teacher.name) as features,
        Behind(N_THREADS) as behind,
    ):
        for batch, maps in features:
            behind.submit(write, batch, HostMaps(project(maps), stream))


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
