"""What every method of the table shows of a view of one scene."""

from dataclasses import replace
from functools import cache

import torch

from gsn.evaluation.segmentation.colour import colour_features
from gsn.evaluation.views.comparators import (
    CARRIED,
    COLOUR,
    MEAN,
    MODEL,
    NEAREST,
    TEACHER,
    carried_view,
    mean_view,
    nearest_view,
    true_view,
)
from gsn.evaluation.views.render_cache import RenderCache
from gsn.evaluation.views.rendering import SceneRenderer, View

# Methods that show a picture of their own; the photo and the student's picture again are none.
PICTURED = (MODEL, NEAREST, MEAN, CARRIED)


class SceneViews:
    """The views of one scene by every method; each is made once."""

    def __init__(self, renderer: SceneRenderer, renders: RenderCache) -> None:
        self.scene = renderer.scene
        self.stride = renderer.config.pixel_stride
        self._renderer = renderer
        self._renders = renders
        self.of = cache(self._of)

    def truth(self, view: int) -> View:
        """Return the photo and the teacher's own map of it."""
        return true_view(self.scene, view, self.stride)

    def prompted(self, view: int) -> dict[str, View]:
        """Return a source view that a prompt was drawn in, by method.

        To copy source views is, of a source view, to have its photo and the teacher's map of it.
        """
        own = self.truth(view)
        return self.of(view) | {NEAREST: own, MEAN: own}

    def _of(self, view: int) -> dict[str, View]:
        """Return the view by method; features are absent where a method has none."""
        n_sources = self._renderer.config.source_views
        name = self.scene.view_names[view]
        model = self._renders.get(name, lambda: self._renderer.view(view))
        assert model.depth is not None  # every rendering has one
        return {
            MODEL: model,
            CARRIED: carried_view(self.scene, view, model.depth, n_sources, self.stride),
            NEAREST: nearest_view(self.scene, view, self.stride),
            MEAN: mean_view(self.scene, view, n_sources, self.stride),
            COLOUR: replace(model, feature=colour_features(model.rgb)),
            TEACHER: self.truth(view),
        }

    def nearest_other(self, view: int, others: list[int]) -> int | None:
        """Return which of some other views has its camera nearest to a view's, if there is one."""
        rest = [other for other in others if other != view]
        if not rest:
            return None
        centres = self.scene.cameras.centres
        return rest[int((centres[torch.tensor(rest)] - centres[view]).norm(dim=1).argmin())]
