"""Means of scores: over the views of a scene, then over scenes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Scores by name, such as `psnr_db`."""

    mean: dict[str, float]  # over scenes; every scene counts alike, however many views it has
    scenes: dict[str, dict[str, float]]  # by scene name: the mean over its views


def mean_scores(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each score over the rows that have it; a score that no row has stays absent.

    Raises:
        ValueError: A score is NaN or infinite: it has no mean, and JSON has no word for it.
    """
    values: dict[str, list[float]] = {}
    for number, row in enumerate(rows):
        for name, value in row.items():
            if not math.isfinite(value):
                raise ValueError(f"row {number}: expected a finite {name!r}, got {value}")
            values.setdefault(name, []).append(value)
    return {name: math.fsum(found) / len(found) for name, found in values.items()}


def summarise(views: Mapping[str, Sequence[Mapping[str, float]]]) -> Summary:
    """Average the scores of each scene over its views, and the results over scenes.

    Args:
        views: By scene name: the scores of each view.
    """
    scenes = {}
    for scene, rows in views.items():
        try:
            scenes[scene] = mean_scores(rows)
        except ValueError as error:
            raise ValueError(f"scene {scene!r}: {error}") from error
    return Summary(mean_scores(list(scenes.values())), scenes)
