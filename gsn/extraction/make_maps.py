"""Bring the stores of all scenes up to date with a teacher, or with a basis of its features."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from gsn.captures.survey import PackSurvey, View
from gsn.extraction.host_maps import HostMaps, side_stream
from gsn.extraction.kept_basis import coefficients_made_by
from gsn.extraction.teacher_pass import features_of
from gsn.features.archive import Archive
from gsn.features.basis import Basis
from gsn.features.store import StoreHeader, map_fingerprint
from gsn.features.update import StoreUpdate, store_path
from gsn.teachers.teacher import Teacher
from gsn.threads import map_in_threads

N_THREADS = 4  # that write maps, or read those that are there already
# Compiling takes 30 to 60 s and, on an H100 with a ViT-B/8 at 376 × 504, brings 412 images/s to
# 477: 0.33 ms a view, so it pays from about 10^5 views.
COMPILE_FROM_VIEWS = 100_000
Updates = dict[Path, StoreUpdate]  # pack -> its store


def plan_updates(
    surveys: list[PackSurvey], out: Path, teacher: Teacher, basis: Basis | None
) -> Updates:
    """Compare the store of each pack with what the pack, the teacher and the basis ask for."""
    archive = Archive(out)
    made_by, channels = teacher.fingerprint, teacher.channels
    if basis is not None:
        made_by, channels = coefficients_made_by(made_by, basis), len(basis.components)

    def plan(survey: PackSurvey) -> StoreUpdate:
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
        updates = pool.map(plan, surveys)
        return {survey.path: update for survey, update in zip(surveys, updates, strict=True)}


@torch.inference_mode()
def make_maps(
    surveys: list[PackSurvey],
    updates: Updates,
    teacher: Teacher,
    basis: Basis | None,
    device: torch.device,
    on_views: Callable[[int], object],
) -> None:
    """Compute the missing maps of all scenes and publish their stores.

    Args:
        surveys: Of the packs.
        updates: From `plan_updates`, with the same teacher and basis.
        teacher: On `device`.
        basis: What is kept are coefficients in it; None: the features themselves.
        device: Where to compute.
        on_views: Called with the number of views whose maps have been written since the last time.

    Raises:
        ValueError: The teacher gives a value that float16 cannot hold, or refuses a photograph.
    """
    for update in updates.values():
        if not update.missing and not update.is_current:
            update.begin()
            update.finish()
    views = [View(survey, view) for survey in surveys for view in updates[survey.path].missing]
    if device.type == "cuda" and len(views) >= COMPILE_FROM_VIEWS:
        teacher.compile()
    project = Tensor.half if basis is None else basis.projector(device)
    stream = side_stream(device)

    def write(arriving: tuple[list[View], HostMaps]) -> int:
        return write_maps(updates, teacher.name, *arriving)

    with closing(features_of(views, teacher, device)) as features:
        arriving = ((batch, HostMaps(project(maps), stream)) for batch, maps in features)
        for n_written in map_in_threads(arriving, write, N_THREADS):
            on_views(n_written)


def write_maps(updates: Updates, teacher: str, views: list[View], maps: HostMaps) -> int:
    """Write the maps of these views once they have arrived; return how many.

    Raises:
        ValueError: A map holds NaN or infinity; those before it are written.
    """
    values, finite = maps.arrived()
    for view, one, is_finite in zip(views, values, finite, strict=True):
        if not is_finite:
            raise ValueError(
                f"{view.place}: {teacher} gives NaN or a value beyond the range of float16; check "
                "its weights"
            )
        updates[view.pack.path].take(view.number, one)
    return len(views)
