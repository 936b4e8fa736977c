"""Objects of one scene, found in any view by every method of the table.

Everything is fitted on prompts and on the views that they were drawn in. What is done to a view in
which objects are searched needs its features and colours alone: no mask of it comes here.
"""

from dataclasses import dataclass

from gsn.evaluation.prompts.prompt import PixelPrompt, TextPrompt
from gsn.evaluation.segmentation.relevancy import TextSegmenter
from gsn.evaluation.segmentation.segmenter import (
    Segmentation,
    SegmentationConfig,
    Segmenter,
    fit_segmenter,
)
from gsn.evaluation.views.comparators import COLOUR
from gsn.evaluation.views.rendering import View
from gsn.evaluation.views.scene_views import SceneViews


@dataclass(frozen=True)
class Search:
    """One prompt, put to one method."""

    method: str
    label: str  # of the object
    draw: int  # of the prompt


Found = dict[Search, Segmentation]


class ObjectSearch:
    """Finds what pixels of source views point at."""

    def __init__(
        self, prompts: list[PixelPrompt], views: SceneViews, config: SegmentationConfig
    ) -> None:
        """Fit every method to every prompt, on what the method shows of the prompt's view."""
        self.segmenters: dict[Search, Segmenter] = {}
        numbers = {name: number for number, name in enumerate(views.scene.view_names)}
        for prompt in prompts:
            on_grid = prompt.on_grid(views.stride)
            for method, view in views.prompted(numbers[prompt.view]).items():
                if view.feature is not None:
                    self.segmenters[Search(method, prompt.label, prompt.draw)] = fit_segmenter(
                        view.feature, view.rgb, on_grid, config
                    )

    def find(self, views: dict[str, View]) -> Found:
        """Search a view, given by method."""
        found = {}
        for search, segmenter in self.segmenters.items():
            view = views.get(search.method)
            if view is not None and view.feature is not None:
                found[search] = segmenter(view.feature, view.rgb)
        return found


class TextSearch:
    """Finds what texts name, in the features of every method that has the teacher's."""

    def __init__(self, prompts: list[TextPrompt], segmenter: TextSegmenter) -> None:
        self._segmenter = segmenter
        self._texts: dict[str, list[str]] = {}  # by label; each of them is a draw
        for prompt in prompts:
            self._texts.setdefault(prompt.label, []).append(prompt.text)
        for label, texts in self._texts.items():
            for text in texts:
                segmenter.contrast(text, [label, *texts])  # refused before anything is rendered

    def find(self, views: dict[str, View]) -> Found:
        """Search a view, given by method; colours have no words."""
        found = {}
        for method, view in views.items():
            if view.feature is None or method == COLOUR:
                continue
            for label, texts in self._texts.items():
                for draw, text in enumerate(texts):
                    segmentation = self._segmenter.find(view.feature, text, [label, *texts])
                    found[Search(method, label, draw)] = segmentation
        return found
