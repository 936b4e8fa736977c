"""Means of scores."""

import math
from collections.abc import Mapping, Sequence


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
