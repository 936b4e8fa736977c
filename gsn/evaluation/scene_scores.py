"""Everything that is measured on one view: the model beside its comparators."""

from dataclasses import dataclass

import torch

from gsn.evaluation.metrics.consistency import (
    ConsistencyConfig,
    PosedFeatures,
    score_consistency,
)
from gsn.evaluation.metrics.feature_metrics import score_features
from gsn.evaluation.metrics.image_metrics import Lpips, score_image
from gsn.evaluation.metrics.mask_table import MaskRow
from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.object_search import Found, ObjectSearch, TextSearch
from gsn.evaluation.views.comparators import MODEL, TEACHER
from gsn.evaluation.views.rendering import View
from gsn.evaluation.views.scene_views import PICTURED, SceneViews

Scores = dict[str, float]


@dataclass(frozen=True)
class ViewResult:
    """One held-out view: what each method shows and finds, and how good that is."""

    number: int
    name: str
    views: dict[str, View]  # by method
    found: Found
    scores: dict[str, Scores]  # by method: of pictures, features and their consistency
    rows: list[MaskRow]  # of objects that pixels point at
    text_rows: list[MaskRow]  # of objects that texts name


class SceneScorer:
    """Scores the held-out views of one scene."""

    def __init__(
        self,
        views: SceneViews,
        objects: ObjectSearch,
        texts: TextSearch | None,
        truth: TrueMasks,
        rendered: list[int],
        lpips: Lpips | None,
        consistency: ConsistencyConfig,
    ) -> None:
        """Keep what scoring needs; `rendered` are the views that consistency may look at."""
        self.truth = truth
        self.views = views
        self._objects = objects
        self._texts = texts
        self._rendered = rendered
        self._lpips = lpips
        self._consistency = consistency

    def score(self, target: int) -> ViewResult:
        """Render one held-out view, search objects in it, and compare everything with the truth."""
        views = self.views.of(target)
        found = self._objects.find(views)
        texts = self._texts.find(views) if self._texts else {}
        return ViewResult(
            number=target,
            name=self.views.scene.view_names[target],
            views=views,
            found=found,
            scores=self._compare(target, views),
            rows=self.truth.score(target, found),
            text_rows=self.truth.score(target, texts),
        )

    def _compare(self, target: int, views: dict[str, View]) -> dict[str, Scores]:
        """Compare pictures and feature maps with the photo and the teacher's map of it."""
        truth = views[TEACHER]
        scores: dict[str, Scores] = {method: {} for method in views}
        for method in PICTURED:
            view = views[method]
            scores[method] |= score_image(view.rgb, truth.rgb, self._lpips)
            if view.feature is not None and truth.feature is not None:
                scores[method] |= score_features(view.feature, truth.feature)
        partner = self.views.nearest_other(target, self._rendered)
        if partner is not None:
            for method in views:
                first, second = (self._posed(view, method) for view in (target, partner))
                if first and second:
                    scores[method] |= score_consistency(first, second, self._consistency)
        return {method: found for method, found in scores.items() if found}

    def _posed(self, view: int, method: str) -> PosedFeatures | None:
        """Return a method's features at the depth that the model rendered."""
        views = self.views.of(view)
        feature, depth = views[method].feature, views[MODEL].depth
        if feature is None or depth is None:
            return None
        camera = self.views.scene.cameras[torch.tensor([view])]
        return PosedFeatures(feature, depth, camera, self.views.stride)


def held_out_views(held_out: list[bool], limit: int) -> list[int]:
    """Return the numbers of the held-out views; if limited, so many of them, evenly picked."""
    views = [number for number, held in enumerate(held_out) if held]
    if not limit or len(views) <= limit:
        return views
    return [views[int(pick)] for pick in torch.linspace(0, len(views) - 1, limit).round()]
