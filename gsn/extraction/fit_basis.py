"""The basis of feature maps that are kept as coefficients, fitted in a pass of its own."""

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import torch

from gsn.captures.survey import PackSurvey, View
from gsn.extraction.kept_basis import basis_made_by
from gsn.extraction.teacher_pass import features_of
from gsn.features.basis import Basis, BasisError
from gsn.features.pca import PcaFit
from gsn.teachers.teacher import Teacher


@dataclass(frozen=True)
class BasisPlan:
    """Which basis is wanted; whether there is one is for `find_basis` to say."""

    views: list[View]  # it is fitted on them
    dims: int
    made_by: dict[str, object]

    @classmethod
    def of(
        cls, surveys: list[PackSurvey], teacher: Teacher, dims: int, fit_scenes: Collection[str]
    ) -> Self:
        """Ask for a basis of so many dimensions.

        Args:
            surveys: Of all packs.
            teacher: Whose features it is to express.
            dims: Number of its directions.
            fit_scenes: It is fitted on their views that are not held out.

        Raises:
            BasisError: The teacher has fewer channels.
        """
        if dims > teacher.channels:
            raise BasisError(
                f"{dims} PCA dimensions asked for, but {teacher.name} has {teacher.channels} "
                "channels"
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
        return cls(views, dims, basis_made_by(teacher.fingerprint, dims, images))


@torch.inference_mode()
def fit_basis(
    plan: BasisPlan, teacher: Teacher, device: torch.device, on_views: Callable[[int], object]
) -> Basis:
    """Fit a basis on the features of the views of its plan, which are not kept.

    Args:
        plan: Made with the same teacher.
        teacher: On `device`.
        device: Where to compute.
        on_views: Called with the number of views taken in since the last time.

    Raises:
        BasisError: The features hold NaN or infinity, or are fewer than the dimensions.
    """
    pca = PcaFit(teacher.channels, device)
    try:
        with closing(features_of(plan.views, teacher, device)) as features:
            for views, maps in features:
                pca.add(maps)
                on_views(len(views))
        return pca.solve(plan.dims, plan.made_by)
    except BasisError as error:
        raise BasisError(
            f"basis of {teacher.name} on {len(plan.views)} views that are not held out: {error}"
        ) from error
