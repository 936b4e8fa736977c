"""Everything that is measured on one scene: the model beside baselines, on held-out views."""

import logging
from dataclasses import dataclass

import numpy as np
import torch

from gsn.evaluation.metrics.feature_metrics import score_features
from gsn.evaluation.metrics.image_metrics import Lpips, score_image
from gsn.evaluation.metrics.mask_metrics import score_mask
from gsn.evaluation.metrics.mean_scores import mean_scores
from gsn.evaluation.objects import (
    Labels,
    Mask,
    ObjectQuery,
    StrokeConfig,
    make_queries,
    pick_prompt_view,
)
from gsn.evaluation.text import TextSegmentation
from gsn.evaluation.views import (
    View,
    encode_pool,
    mean_view,
    nearest_view,
    render_view,
    true_view,
)
from gsn.features.prompts import TextQuery
from gsn.model.network import GsnModel
from gsn.model.scene import Scene

log = logging.getLogger(__name__)
Scores = dict[str, float]

MODEL = "model"
NEAREST = "nearest_view"
MEAN = "mean_view"
TEACHER = "teacher_on_photo"  # what a 2-D method could do if it had the photo of the target view


@dataclass(frozen=True)
class RenderConfig:
    """How views are rendered for scoring."""

    source_views: int
    pixel_stride: int
    chunk_rays: int


@dataclass(frozen=True)
class Segmentation:
    """The object of a view that pictures show: the largest one."""

    label: str
    predicted: Mask  # (h, w)
    truth: Mask  # (h, w)


@dataclass(frozen=True)
class ViewResult:
    """One held-out view: what was rendered, what is true, and how they compare."""

    name: str
    truth: View
    rendered: View
    scores: dict[str, Scores]  # by method
    segmentation: Segmentation | None


class SceneScorer:
    """Renders and scores the held-out views of one scene."""

    def __init__(
        self,
        model: GsnModel,
        scene: Scene,
        masks: dict[int, Labels],  # (H, W) of each view that has one
        labels: tuple[str, ...],
        render: RenderConfig,
        stroke: StrokeConfig,
        lpips: Lpips | None,
        text: TextQuery | None = None,
    ) -> None:
        self.scene = scene
        self.lpips = lpips
        self._model = model
        self._config = render
        self._pool = encode_pool(model, scene)
        self._labels = labels
        step = render.pixel_stride
        self._masks = {view: mask[::step, ::step] for view, mask in masks.items()}
        self._queries = self._make_queries(stroke)
        self._text = TextSegmentation(text, labels) if text else None
        if self._text:
            named = len(self._text.named)
            log.info("%s: prompts name %d of %d labels", scene.name, named, len(set(labels)))

    def score(self, target: int) -> ViewResult:
        """Render one held-out view and compare it, and the baselines, with the truth."""
        stride, n_sources = self._config.pixel_stride, self._config.source_views
        truth = true_view(self.scene, target, stride)
        views = {
            MODEL: self._render(target),
            NEAREST: nearest_view(self.scene, target, stride),
            MEAN: mean_view(self.scene, target, n_sources, stride),
        }
        scores = {name: self._compare(view, truth) for name, view in views.items()}
        segmentation = None
        if self._queries and target in self._masks:
            for name, view in (views | {TEACHER: truth}).items():
                scores.setdefault(name, {}).update(self._segment(name, view, target))
            segmentation = self._largest_object(views[MODEL], target)
        for name, view in (views | {TEACHER: truth}).items():
            if found := self._score_texts(view, target):
                scores.setdefault(name, {}).update(found)
        return ViewResult(self.scene.view_names[target], truth, views[MODEL], scores, segmentation)

    def _render(self, target: int) -> View:
        return render_view(
            self._model,
            self.scene,
            target,
            self._pool,
            self._config.source_views,
            self._config.pixel_stride,
            self._config.chunk_rays,
        )

    def _compare(self, view: View, truth: View) -> Scores:
        scores = score_image(view.rgb, truth.rgb, self.lpips)
        if view.feature is not None and truth.feature is not None:
            scores |= score_features(view.feature, truth.feature)
        return scores

    def _make_queries(self, stroke: StrokeConfig) -> dict[str, dict[int, ObjectQuery]]:
        """Fit the queries of every method on one source view: the model's on its own rendering."""
        sources = {int(view) for view in self.scene.source_pool}
        masks = {view: mask for view, mask in self._masks.items() if view in sources}
        if not masks or self.scene.teacher is None:
            return {}
        view = pick_prompt_view(masks, len(self._labels))
        features = {
            MODEL: self._render(view).feature,
            TEACHER: true_view(self.scene, view, self._config.pixel_stride).feature,
        }
        queries = {
            name: make_queries(feature, masks[view], self._labels, stroke)
            for name, feature in features.items()
            if feature is not None
        }
        log.info(
            "%s: strokes in %d of %d objects of view %s",
            *(self.scene.name, len(queries[TEACHER]), len(self._labels)),
            self.scene.view_names[view],
        )
        # The baselines show the teacher's own features, so its queries are theirs.
        return queries | {NEAREST: queries[TEACHER], MEAN: queries[TEACHER]}

    def _segment(self, method: str, view: View, target: int) -> Scores:
        """Average the scores over the objects that the target view shows."""
        rows = []
        for value, query in self._queries.get(method, {}).items():
            truth = self._masks[target] == value
            if truth.any() and view.feature is not None:
                predicted, scores = query.find(view.feature)
                rows.append(score_mask(predicted, truth, scores))
        return mean_scores(rows)

    def _score_texts(self, view: View, target: int) -> Scores:
        if self._text is None or view.feature is None or target not in self._masks:
            return {}
        return self._text.score(view.feature, self._masks[target])

    def _largest_object(self, view: View, target: int) -> Segmentation | None:
        mask = self._masks[target]
        queries = self._queries.get(MODEL, {})
        areas = {value: int((mask == value).sum()) for value in queries}
        if view.feature is None or not any(areas.values()):
            return None
        value = max(areas, key=lambda v: areas[v])
        predicted, _ = queries[value].find(view.feature)
        return Segmentation(queries[value].label, predicted, np.asarray(mask == value))


def held_out_views(scene: Scene, limit: int | None) -> list[int]:
    """Return the held-out views, at most `limit` of them, evenly picked."""
    views = torch.nonzero(scene.held_out)[:, 0].tolist()
    if limit is None or len(views) <= limit:
        return views
    picks = np.linspace(0, len(views) - 1, limit).round().astype(int)
    return [views[pick] for pick in picks]
