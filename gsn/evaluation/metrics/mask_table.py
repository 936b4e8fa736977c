"""The table of segmentation scores: one row a mask, and its means.

Averages are taken in steps, so that what has many views or objects does not outweigh what has few:
views to an object, objects to a scene, scenes to a method. That is done for each draw apart, a draw
being one prompt for each object; the mean is then taken over draws, and `<metric>_std` is the
sample standard deviation (ddof 1) of the draws' means: how much the result hangs on who drew the
prompt.

An object need not have as many draws as another. In a draw that it lacks it enters with the mean
over the draws that it has. So each object weighs the same in every draw, the mean is that of the
objects' own means, and the spread is that of prompts alone, never of which objects happen to have
one; an object with a single prompt adds nothing to it. A metric of which no object has two draws
has no `_std`.
"""

import csv
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gsn.atomic import complete_or_absent
from gsn.evaluation.metrics.mean_scores import mean_scores

Scores = dict[str, float]
Key = TypeVar("Key")

COLUMNS = ("scene", "object", "view", "draw", "method")  # and then the metrics


@dataclass(frozen=True)
class MaskRow:
    """How well one method found one object in one view, asked by one prompt."""

    scene: str
    object: str  # its label
    view: str  # the held-out one
    draw: int  # of the prompt: 0, 1, ...
    method: str
    scores: Scores  # by metric; one that does not exist here is absent, never NaN

    def __post_init__(self) -> None:
        for name, value in self.scores.items():
            if not math.isfinite(value):
                raise ValueError(f"row {self.key}: expected a finite {name!r}, got {value}")

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What no other row of the table may share; rows are sorted by it."""
        return self.scene, self.object, self.view, self.draw, self.method


def summarise(rows: Sequence[MaskRow]) -> dict[str, Scores]:
    """Average over everything, by method; see the head of this module for the order.

    Methods are in the order of their first rows.

    Raises:
        ValueError: Two rows are of the same scene, object, view, draw and method.
    """
    _check_distinct(rows)
    methods = _group(rows, lambda row: row.method)
    return {method: _mean_and_spread(found) for method, found in methods.items()}


def summarise_objects(rows: Sequence[MaskRow]) -> dict[str, dict[str, dict[str, Scores]]]:
    """Average each object by itself: scene → object → method → scores."""
    scenes = _group(rows, lambda row: row.scene)
    return {
        scene: {
            label: summarise(of_object)
            for label, of_object in _group(found, lambda row: row.object).items()
        }
        for scene, found in scenes.items()
    }


def write_rows(path: Path, rows: Sequence[MaskRow]) -> None:
    """Write a CSV file with one line a row, sorted by scene, object, view, draw and method.

    The file does not depend on the order of `rows`. Numbers are written so that reading them gives
    the same numbers; a metric that a row lacks is an empty cell.

    Raises:
        ValueError: Two rows are of the same scene, object, view, draw and method.
    """
    _check_distinct(rows)
    ordered = sorted(rows, key=lambda row: row.key)
    metrics = list(dict.fromkeys(name for row in ordered for name in row.scores))
    with complete_or_absent(path) as partial, partial.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow([*COLUMNS, *metrics])
        for row in ordered:
            cells = [repr(float(row.scores[m])) if m in row.scores else "" for m in metrics]
            writer.writerow([*row.key, *cells])


def _check_distinct(rows: Sequence[MaskRow]) -> None:
    seen = set()
    for row in rows:
        if row.key in seen:
            raise ValueError(
                f"two rows for scene {row.scene!r}, object {row.object!r}, view {row.view!r}, draw "
                f"{row.draw}, method {row.method!r}: expected one"
            )
        seen.add(row.key)


def _mean_and_spread(rows: Sequence[MaskRow]) -> Scores:
    """Average the rows of one method over views, objects, scenes and draws, in this order."""
    scenes = [
        [_score_draws(found) for found in _group(of_scene, lambda row: row.object).values()]
        for of_scene in _group(rows, lambda row: row.scene).values()
    ]
    draws = sorted({row.draw for row in rows})
    means = [
        mean_scores([mean_scores([_of_draw(o, draw) for o in objects]) for objects in scenes])
        for draw in draws
    ]
    repeated = {
        name
        for objects in scenes
        for by_draw in objects
        for name in mean_scores(list(by_draw.values()))
        if sum(name in scores for scores in by_draw.values()) > 1
    }
    summary = {}
    for name, mean in mean_scores(means).items():
        summary[name] = mean
        if name in repeated:
            summary[f"{name}_std"] = statistics.stdev(of_draw[name] for of_draw in means)
    return summary


def _score_draws(rows: Sequence[MaskRow]) -> dict[int, Scores]:
    """Average the views of one object, for each draw that it has."""
    draws = _group(rows, lambda row: row.draw)
    return {draw: mean_scores([row.scores for row in found]) for draw, found in draws.items()}


def _of_draw(by_draw: dict[int, Scores], draw: int) -> Scores:
    """Return the scores of an object in a draw; what it lacks there is the mean of its draws."""
    return mean_scores(list(by_draw.values())) | by_draw.get(draw, {})


def _group(rows: Sequence[MaskRow], key: Callable[[MaskRow], Key]) -> dict[Key, list[MaskRow]]:
    """Divide rows by a key, both in the order of first appearance."""
    groups: dict[Key, list[MaskRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
