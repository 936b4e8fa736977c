"""The verdict on a capture: its numbers against tolerances, and what may be wrong.

Tolerances are shares of the long side, so that they mean the same at every size. Sound captures
and such with known faults lie on either side of them (tests/captures/check/test_faults.py).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gsn.captures.check.epipolar import Agreement
from gsn.captures.images import Size

DOUBTFUL_ERROR = 0.002  # median epipolar error, share of the long side
UNUSABLE_ERROR = 0.005
# A view is out of place if even its best pair misses by this share of the long side; less is
# enough where many matches say so: in sound captures, best pairs of 46 matches or fewer missed by
# up to 0.008, those of 64 or more by at most 0.001.
MISPLACED_ERROR, MISPLACED_BY_MANY = 0.01, 0.002
MANY_MATCHES = 64
MOST_MISPLACED = 0.25  # share of the judged views; with more the cameras are of other photographs
FEWEST_JUDGED = 0.25  # share of the views
DOUBTFUL_IN_FRONT, UNUSABLE_IN_FRONT = 0.9, 0.5  # share of the matched points
FEWEST_IN_RANGE = 0.9  # share of the matched points before the cameras
BETTER_FOCAL = 0.75  # of the error, with another focal length
SMALLEST_BASELINE = 1e-3  # of the nearest depth
FORWARD_FACING_DEG = 45.0  # largest angle between two optical axes
NAMES_SHOWN = 3


class Verdict(IntEnum):
    """What to do with a capture; the worst of its findings."""

    OK = 0
    DOUBTFUL = 1
    UNUSABLE = 2


@dataclass(frozen=True)
class Finding:
    """Something worth saying about a capture."""

    verdict: Verdict  # if there were no other
    text: str


@dataclass(frozen=True)
class Measures:
    """Numbers of a capture that could be read."""

    n_views: int
    size: Size  # of the photographs as they were looked at
    focal_px: float  # median over the views, in pixels of `size`
    field_of_view_deg: float  # across the width
    near: float  # in scene units
    far: float
    baseline: float  # median distance of the nearest other camera, share of the nearest depth
    spread_deg: float  # largest angle between two optical axes
    agreement: Agreement

    @property
    def forward_facing(self) -> bool:
        """Whether all cameras look roughly the same way."""
        return self.spread_deg <= FORWARD_FACING_DEG


def judge(measures: Measures, view_names: tuple[str, ...]) -> list[Finding]:
    """Compare the numbers of a capture with the tolerances."""
    found = [
        _judge_error(measures),
        _judge_focal(measures),
        _judge_front(measures),
        _judge_views(measures, view_names),
        _judge_range(measures),
        _judge_baseline(measures),
    ]
    return [finding for finding in found if finding is not None]


def _judge_error(measures: Measures) -> Finding | None:
    judged, error = measures.agreement.judged, measures.agreement.error_px
    if error > DOUBTFUL_ERROR * max(measures.size):
        verdict = Verdict.DOUBTFUL
        if error > UNUSABLE_ERROR * max(measures.size):
            verdict = Verdict.UNUSABLE
        return Finding(
            verdict,
            f"matches miss their epipolar lines by {error:.1f} px, expected at most "
            f"{DOUBTFUL_ERROR * max(measures.size):.1f}: the cameras are of other photographs, in "
            "another order or with other axes",
        )
    if judged.all():
        return None
    few = judged.mean() < FEWEST_JUDGED
    return Finding(
        Verdict.DOUBTFUL if few else Verdict.OK,
        f"{judged.sum()} of {len(judged)} views could be judged, the others have too few matches "
        "with their neighbours",
    )


def _judge_focal(measures: Measures) -> Finding | None:
    agreement = measures.agreement
    if not agreement.focal_error_px < min(
        BETTER_FOCAL * agreement.error_px, DOUBTFUL_ERROR * max(measures.size)
    ):
        return None
    return Finding(
        Verdict.DOUBTFUL,
        f"the focal length looks wrong: with {agreement.focal_scale:g} times of it matches miss by "
        f"{agreement.focal_error_px:.2f} px in place of {agreement.error_px:.2f}",
    )


def _judge_front(measures: Measures) -> Finding | None:
    share = measures.agreement.in_front
    if not share < DOUBTFUL_IN_FRONT:  # NaN: nothing to say
        return None
    return Finding(
        Verdict.UNUSABLE if share < UNUSABLE_IN_FRONT else Verdict.DOUBTFUL,
        f"{share:.0%} of the matched points lie before the cameras, expected all: an axis of the "
        "cameras or of the world points the other way",
    )


def _judge_views(measures: Measures, view_names: tuple[str, ...]) -> Finding | None:
    agreement, long_side = measures.agreement, max(measures.size)
    share = np.where(
        agreement.view_matches >= MANY_MATCHES, MISPLACED_BY_MANY, MISPLACED_ERROR
    )  # (V,)
    misplaced = np.flatnonzero(agreement.view_error_px > share * long_side)  # never where NaN
    if len(misplaced) == 0:
        return None
    worst = misplaced[np.argsort(-agreement.view_error_px[misplaced])][:NAMES_SHOWN]
    names = ", ".join(f"{view_names[k]!r} ({agreement.view_error_px[k]:.1f} px)" for k in worst)
    many = len(misplaced) > MOST_MISPLACED * agreement.judged.sum()
    return Finding(
        Verdict.UNUSABLE if many else Verdict.DOUBTFUL,
        f"{len(misplaced)} of {measures.n_views} views do not fit their neighbours: {names}"
        f"{', ...' if len(misplaced) > NAMES_SHOWN else ''}",
    )


def _judge_range(measures: Measures) -> Finding | None:
    share = measures.agreement.in_range
    if not share < FEWEST_IN_RANGE:
        return None
    return Finding(
        Verdict.DOUBTFUL,
        f"{share:.0%} of the matched points lie within the depth range: its bounds are of another "
        "scale than the cameras, or guessed",
    )


def _judge_baseline(measures: Measures) -> Finding | None:
    if measures.baseline >= SMALLEST_BASELINE:
        return None
    return Finding(
        Verdict.UNUSABLE,
        "the cameras hardly move: nothing can be learnt about depth from turning alone",
    )
