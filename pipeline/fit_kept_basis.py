"""The basis of feature maps that `extract` keeps as coefficients, fitted in a pass of its own."""

import logging
from collections.abc import Collection
from pathlib import Path

import torch

from gsn.captures.survey import PackSurvey, View
from gsn.features.archive import Archive
from gsn.features.basis import Basis, BasisError
from gsn.features.kept_basis import basis_made_by, find_basis, keep_basis
from gsn.features.pca import PcaFit
from gsn.features.price import GB
from gsn.teachers.teacher import Teacher
from pipeline.price import check_space
from pipeline.teacher_pass import teacher_pass

log = logging.getLogger(__name__)


def basis_of(
    surveys: list[PackSurvey],
    out: Path,
    teacher: Teacher,
    dims: int,
    device: torch.device,
    fit_scenes: Collection[str],
) -> Basis:
    """Find the basis of what is kept, or fit it in a pass over the views that are not held out."""
    if dims > teacher.channels:
        raise ValueError(
            f"`extract.kept_dims` is {dims}, but {teacher.name} has {teacher.channels} channels"
        )
    fitted_on = [survey for survey in surveys if survey.scene in fit_scenes]
    views = [
        View(survey, view)
        for survey in fitted_on
        for view, held_out in enumerate(survey.held_out)
        if not held_out
    ]
    images: dict[str, dict[str, str]] = {survey.scene: {} for survey in fitted_on}
    for view in views:
        pack = view.pack
        images[pack.scene][pack.view_names[view.number]] = pack.image_sha256[view.number]
    made_by = basis_made_by(teacher.fingerprint, dims, images)
    archive = Archive(out)
    basis = find_basis(out, archive, made_by)
    if basis is None:
        sizes = [(*teacher.grid_size(*s.image_size), len(s.view_names)) for s in surveys]
        n_bytes = 2 * dims * sum(rows * columns * n for rows, columns, n in sizes)
        log.info("%d views to fit a basis on, then %.3f GB to write", len(views), n_bytes / GB)
        check_space(out, n_bytes)
        basis = fit_basis(views, teacher, dims, device, made_by)
        keep_basis(out, archive, basis)
    return basis


def fit_basis(
    views: list[View],
    teacher: Teacher,
    dims: int,
    device: torch.device,
    made_by: dict[str, object],
) -> Basis:
    """Fit a basis on the features of these views, which are not kept."""
    pca = PcaFit(teacher.channels, device)
    with teacher_pass(views, teacher, device, f"{teacher.name}, basis") as features:
        for _, maps in features:
            pca.add(maps)
    try:
        return pca.solve(dims, made_by)
    except BasisError as error:
        raise BasisError(
            f"basis of {teacher.name} on {len(views)} views that are not held out: {error}; check "
            "`extract.kept_dims`, or the teacher's weights"
        ) from error
