"""Prompts where a scene has only masks: strokes drawn in the objects of its source views."""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gsn.checks import check_shape
from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.prompts.strokes import draw_stroke

log = logging.getLogger(__name__)
Labels = npt.NDArray[np.uint8]


def draw_prompts(
    masks: Mapping[int, Labels],  # (H, W) each, of source views, by number of the view
    view_names: Sequence[str],  # of all views
    labels: Sequence[str],  # k + 1 in a mask is an object called labels[k]
    seeds: Sequence[int],
    width_px: int,
    asked: Collection[str] = (),  # labels that need no stroke; their pixels are not in the masks
) -> list[PixelPrompt]:
    """Draw a stroke for each object that any of these views shows and each seed.

    Pixels of equal label are one object. All objects that the prompt view shows are drawn in there,
    any other in the view that shows most of it. The mask that a stroke was drawn in is the
    reference of the prompt; these masks are the only ones that come here.

    Returns:
        By object in the order of labels, then by seed; `draw` counts the seeds. Empty without any
        object.

    Raises:
        ValueError: The masks are not of one size.
    """
    sizes: dict[str, int] = {}
    for view, mask in masks.items():
        sizes |= check_shape(f"mask of view {view_names[view]!r}", mask, "H W", sizes)
    prompts = []
    views = pick_views(masks, labels)
    for label, view in views.items():
        inside = object_mask(masks[view], labels, label)
        prompts += [
            PixelPrompt(
                label, draw, view_names[view], draw_stroke(inside, seed, width_px), reference=inside
            )
            for draw, seed in enumerate(seeds)
        ]
    _report(views, view_names, [label for label in labels if label not in asked])
    return prompts


def pick_views(masks: Mapping[int, Labels], labels: Sequence[str]) -> dict[str, int]:
    """Choose the view that each object is prompted in; objects in no view are left out.

    Returns:
        Number of the view by label, in the order of labels.
    """
    areas = {view: object_areas(mask, labels) for view, mask in masks.items()}
    chosen = {}
    for label in dict.fromkeys(labels):
        shown = [view for view in sorted(masks) if areas[view][label]]
        if shown:
            chosen[label] = max(shown, key=lambda view: areas[view][label])
    if chosen:
        prompt_view = pick_prompt_view(masks, labels)
        chosen |= {label: prompt_view for label in chosen if areas[prompt_view][label]}
    return chosen


def pick_prompt_view(masks: Mapping[int, Labels], labels: Sequence[str]) -> int:
    """Return the view that shows most objects, and of those the one whose smallest is largest.

    Of equals it is the first.

    Raises:
        ValueError: There are no masks.
    """
    if not masks:
        raise ValueError("masks: expected the mask of at least one view to choose from, got none")

    def rank(view: int) -> tuple[int, int]:
        shown = [area for area in object_areas(masks[view], labels).values() if area]
        return len(shown), min(shown, default=0)

    return max(sorted(masks), key=rank)


def object_areas(mask: Labels, labels: Sequence[str]) -> dict[str, int]:
    """Count the pixels of each object, by label."""
    areas = dict.fromkeys(labels, 0)
    counts = np.bincount(mask.ravel(), minlength=len(labels) + 1)
    for value, label in enumerate(labels, start=1):
        areas[label] += int(counts[value])
    return areas


def object_mask(mask: Labels, labels: Sequence[str], label: str) -> npt.NDArray[np.bool_]:  # (H, W)
    """Tell one object from everything else."""
    return np.isin(mask, [value for value, name in enumerate(labels, start=1) if name == label])


def _report(views: Mapping[str, int], view_names: Sequence[str], labels: Sequence[str]) -> None:
    for view in dict.fromkeys(views.values()):
        drawn = [label for label in views if views[label] == view]
        log.info("strokes in view %s for %s", view_names[view], ", ".join(drawn))
    if hidden := [label for label in dict.fromkeys(labels) if label not in views]:
        log.warning("no stroke for %s: no source view shows it", ", ".join(hidden))
