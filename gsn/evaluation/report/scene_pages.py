"""The part of the page that is about one scene, and its pictures as files."""

from pathlib import Path

import numpy as np

from gsn.evaluation.metrics.mask_table import MaskRow
from gsn.evaluation.metrics.mean_scores import mean_scores
from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.object_search import Found, ObjectSearch, Search
from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.report.content import MethodScores, Panel, SceneSection, ViewRow
from gsn.evaluation.report.film import film_frame
from gsn.evaluation.report.marks import draw_mask, draw_prompt
from gsn.evaluation.report.outlines import drawing_scale, enlarge, enlarge_smoothly
from gsn.evaluation.report.pictures import (
    FeatureColours,
    Picture,
    colour_depth,
    colour_scores,
    overlay_mask,
    to_picture,
    write_png,
)
from gsn.evaluation.report.strip import strip
from gsn.evaluation.scene_scores import ViewResult
from gsn.evaluation.views.comparators import MODEL, TEACHER
from gsn.evaluation.views.rendering import View
from gsn.evaluation.views.scene_views import SceneViews

SCORE_PERCENT = (1.0, 99.5)  # of the scores in the prompt's view: the ends of the colours
TEXT_PREFIX = "text_"


class ScenePages:
    """Turns the results of one scene into pictures, all in the same colours of features."""

    def __init__(
        self,
        views: SceneViews,
        objects: ObjectSearch,
        prompts: list[PixelPrompt],
        truth: TrueMasks,
        folder: Path,
    ) -> None:
        """Fit the colours on the source views; strips of pictures are written to `folder`."""
        self._views = views
        self._objects = objects
        self._truth = truth
        self._folder = folder
        self._rows: list[ViewRow] = []
        self._n_scored = 0
        scene = views.scene
        maps = scene.teacher_maps(scene.source_pool)
        # A colour has three components: fewer channels are searched and scored, but not pictured.
        self._colours = (
            FeatureColours.fit(list(maps.values.permute(0, 2, 3, 1)))
            if maps is not None and maps.values.shape[1] >= 3
            else None
        )
        self._numbers = {name: number for number, name in enumerate(scene.view_names)}
        self._prompts = [prompt for prompt in prompts if prompt.draw == 0]

    def add(self, result: ViewResult) -> None:
        """Draw the row of a view, for the page and as a PNG file."""
        panels = self._panels(result)
        picture = strip([(panel.title, panel.picture) for panel in panels])
        write_png(self._folder / f"{result.name}.png", picture)
        self._n_scored += len(result.rows)
        self._rows.append(ViewRow(result.name, panels, view_scores(result)))

    def section(self, film: bytes | None) -> SceneSection:
        """Return what the page shows of the scene, but for its means."""
        notes = []
        if not self._prompts and self._truth.masks:
            notes.append("No stroke is drawn: no mask of a source view shows an object.")
        elif not self._prompts:
            notes.append("No object is searched for: the scene has neither masks nor prompts.")
        elif not self._n_scored:
            notes.append("No mask of a held-out view tells whether the objects found are right.")
        prompts = [
            Panel(self._prompt_title(one), self._prompt_picture(one)) for one in self._prompts
        ]
        return SceneSection(self._views.scene.name, self._rows, prompts, film=film, notes=notes)

    def film_frame(self, view: View, label: str | None) -> Picture:
        """Draw colour, features and the mask of an object side by side."""
        scale = drawing_scale(*view.rgb.shape[:2])
        colour = enlarge_smoothly(to_picture(view.rgb), scale)
        search = Search(MODEL, label or "", 0)
        features = mask = None
        if view.feature is not None and self._colours is not None:
            features = self._colours(view.feature)
            if search in self._objects.segmenters:
                found = self._objects.segmenters[search](view.feature, view.rgb).mask
                mask = draw_mask(colour, enlarge(found, scale))
        return film_frame(colour, features, mask)

    def label_for_film(self) -> str | None:
        """Return the object that the film follows: the largest of those that are pointed at."""
        if not self._prompts:
            return None
        known = [(one.reference, one.positive, one.box) for one in self._prompts]
        areas = [next(mask.sum() for mask in masks if mask is not None) for masks in known]
        return self._prompts[int(np.argmax(areas))].label

    def _panels(self, result: ViewResult) -> list[Panel]:
        photo, render = result.views[TEACHER], result.views[MODEL]
        panels = [
            Panel("photo", to_picture(photo.rgb)),
            Panel("render", to_picture(render.rgb)),
        ]
        if render.depth is not None:
            near, far = float(self._views.scene.near), float(self._views.scene.far)
            panels.append(Panel("depth", colour_depth(render.depth, near, far)))
        teacher = f"teacher ({self._views.scene.teacher_name})"
        for title, view in ((teacher, photo), ("rendered features", render)):
            if self._colours is not None and view.feature is not None:
                panels.append(Panel(title, self._colours(view.feature), lossless=True))
        return panels + self._object_panels(result.number, result.found, to_picture(photo.rgb))

    def _object_panels(self, view: int, found: Found, photo: Picture) -> list[Panel]:
        """Show the largest object of the view: its score map, and its mask against the truth."""
        label = self._truth.largest(view, found)
        search = Search(MODEL, label or "", 0)
        if label is None or search not in found:
            return []
        threshold = self._objects.segmenters[search].threshold
        low, high = self._score_range(search)
        predicted = found[search].mask
        scale = drawing_scale(*predicted.shape)
        truth = self._truth.of(view, label)
        if truth is None:
            drawn = draw_mask(photo, predicted, scale)
            mask = Panel(f"{label} (truth unknown)", drawn, lossless=True)
        else:
            mask = Panel(label, overlay_mask(photo, predicted, truth, scale), lossless=True)
        scores = colour_scores(found[search].scores, low, high, threshold, scale)
        return [Panel(f"score: {label}", scores), mask]

    def _score_range(self, search: Search) -> tuple[float, float]:
        """Return the ends of the colours of score maps: those of the prompt's own view."""
        prompt = next(one for one in self._prompts if one.label == search.label)
        view = self._views.of(self._numbers[prompt.view])[MODEL]
        assert view.feature is not None  # or there would be no such search
        scores = self._objects.segmenters[search](view.feature, view.rgb).scores
        low, high = np.percentile(scores, SCORE_PERCENT)
        return float(low), max(float(high), float(low) + 1e-9)

    def _prompt_title(self, prompt: PixelPrompt) -> str:
        return f"{prompt.label} in view {prompt.view}"

    def _prompt_picture(self, prompt: PixelPrompt) -> Picture:
        photo = self._views.scene.images[self._numbers[prompt.view]].permute(1, 2, 0)
        scale = drawing_scale(*photo.shape[:2])
        return draw_prompt(to_picture(photo.float() / 255), prompt, scale)


def view_scores(result: ViewResult) -> MethodScores:
    """Gather all scores of a view by method; those of objects are means over objects and draws."""
    return {
        method: result.scores.get(method, {})
        | _mean_of(result.rows, method, "")
        | _mean_of(result.text_rows, method, TEXT_PREFIX)
        for method in result.views
    }


def _mean_of(rows: list[MaskRow], method: str, prefix: str) -> dict[str, float]:
    means = mean_scores([row.scores for row in rows if row.method == method])
    return {prefix + name: value for name, value in means.items()}
