"""Where the objects of a scene are. Scores alone read this; no method does."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gsn.evaluation.metrics.mask_metrics import score_mask
from gsn.evaluation.metrics.mask_table import MaskRow
from gsn.evaluation.metrics.precision_recall import precision_recall
from gsn.evaluation.object_search import Found
from gsn.evaluation.prompts.draw_prompts import object_mask
from gsn.evaluation.views.comparators import MODEL

Mask = npt.NDArray[np.bool_]
Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # recall, precision


@dataclass(frozen=True)
class TrueMasks:
    """The masks of a scene at every `stride`-th pixel."""

    scene: str
    view_names: tuple[str, ...]
    labels: tuple[str, ...]  # k + 1 in a mask is an object called labels[k]
    masks: dict[int, npt.NDArray[np.uint8]]  # (h, w), by number of the view; not every view has one
    boundary_tolerance: float  # as a share of the diagonal

    def of(self, view: int, label: str) -> Mask | None:
        """Return where an object is in a view, if that is known."""
        if view not in self.masks or label not in self.labels:
            return None
        return object_mask(self.masks[view], self.labels, label)

    def score(self, view: int, found: Found) -> list[MaskRow]:
        """Score what was found in a view, as far as the truth is known."""
        rows = []
        for search, segmentation in found.items():
            truth = self.of(view, search.label)
            if truth is not None:
                scores = score_mask(
                    segmentation.mask, truth, segmentation.scores, self.boundary_tolerance
                )
                place = self.scene, search.label, self.view_names[view], search.draw
                rows.append(MaskRow(*place, search.method, scores))
        return rows

    def curves(self, view: int, found: Found) -> dict[str, list[Curve]]:
        """Return precision against recall, by method, of the first draw for each object shown."""
        curves: dict[str, list[Curve]] = {}
        for search, segmentation in found.items():
            truth = self.of(view, search.label)
            if search.draw == 0 and truth is not None and truth.any():
                curve = precision_recall(segmentation.scores, truth)
                curves.setdefault(search.method, []).append(curve)
        return curves

    def largest(self, view: int, found: Found) -> str | None:
        """Return the object to show of a view: the largest one, among those searched for."""
        labels = dict.fromkeys(search.label for search in found if search.method == MODEL)
        areas = {
            label: truth.sum() for label in labels if (truth := self.of(view, label)) is not None
        }
        return max(areas, key=lambda label: areas[label]) if areas else next(iter(labels), None)
