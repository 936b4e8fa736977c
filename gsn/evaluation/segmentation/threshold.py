"""Where a score map is cut: rules that see the prompt view and nothing else.

`best_iou`  the cut whose segment fits the prompt's reference mask best. A prompt without one (a
            person drew strokes alone) falls to `log_otsu`; the log says so, once.
`otsu`      Otsu's cut (IEEE Trans. SMC 1979): the two classes of scores differ most. No mask.
`log_otsu`  Otsu's cut of log(best score - score): of an object that fills a small part of the view,
            Otsu's own cut is far too low, for it parts near background from far background.

A score map of the prompt view that is constant offers no cut. Then every pixel is as much like the
prompt as the prompt's own pixels are, so all of them belong to the segment: the threshold is the
lowest score, less rounding, under every rule.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu

from gsn.checks import check_shape

log = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
ThresholdRule = Literal["best_iou", "otsu", "log_otsu"]

WITHOUT_REFERENCE: ThresholdRule = "log_otsu"  # instead of `best_iou`
CONSTANT_RANGE = 1e-9  # scores that differ by less differ by rounding
LOG_FLOOR = 0.01  # of the range of scores, added to the gap of which the logarithm is taken

_otsu: Callable[[FloatArray], float] = threshold_otsu


def pick_threshold(
    scores: FloatArray,  # (H, W), of the prompt view
    reference: Mask | None,  # (H, W), of the prompt view
    rule: ThresholdRule,
    label: str = "the prompt",
    lead: FloatArray | None = None,  # (H, W), of the prompt view
) -> float:
    """Find the threshold of a prompt by a rule.

    Args:
        scores: Higher is more like the object.
        reference: The whole object, where it is known; read by `best_iou` alone.
        rule: One of those at the top of this file.
        label: What to call the prompt in the log.
        lead: Where it is below 0, `cap_by_lead` will take the pixel out of the segment, so
            `best_iou` counts it as outside. The other rules do not ask: a cut among what is left
            moves far into the object where negative strokes took most of the background away.

    Raises:
        ValueError: Shapes do not fit, a score is not finite, or the reference is empty.
    """
    check_shape("scores", scores, "H W")
    _check_finite(scores)
    if scores.max() - scores.min() <= CONSTANT_RANGE:
        return float(scores.min()) - CONSTANT_RANGE
    if rule == "best_iou":
        if reference is not None:
            kept = scores if lead is None else np.where(lead < 0, scores.min(), scores)
            return choose_threshold(kept, reference)
        _say_what_stands_in(label)
        rule = WITHOUT_REFERENCE
    return float(_otsu(scores)) if rule == "otsu" else _otsu_of_log(scores)


def choose_threshold(
    scores: FloatArray,  # (H, W), of the prompt view
    mask: Mask,  # (H, W), of the prompt view
) -> float:
    """Find the threshold that gives the prompt view its best IoU, among all of its scores.

    Of several with the same IoU the highest is taken: the smallest segment.

    Raises:
        ValueError: Shapes do not fit, a score is not finite, or the mask is empty.
    """
    size = check_shape("scores", scores, "H W")
    check_shape("mask", mask, "H W", size)
    if not mask.any():
        raise ValueError("mask: the object is not in the prompt view; choose another view")
    _check_finite(scores)
    order = np.argsort(-scores, axis=None)
    sorted_scores = scores.ravel()[order]
    hits = np.cumsum(mask.ravel()[order])
    n_predicted = np.arange(1, scores.size + 1)
    iou = hits / (n_predicted + int(mask.sum()) - hits)
    # Pixels of equal score come in together: only the last of each run is a possible cut.
    iou[:-1][sorted_scores[1:] == sorted_scores[:-1]] = -1.0
    return float(sorted_scores[int(np.argmax(iou))])


def segment(
    scores: FloatArray,  # (H, W)
    threshold: float,
) -> Mask:  # (H, W)
    """Mark the pixels that score at least the threshold."""
    return np.asarray(scores >= threshold)


def cap_by_lead(
    scores: FloatArray,  # (H, W)
    lead: FloatArray | None,  # (H, W), below 0 where something else is nearer than the object
    threshold: float,
) -> FloatArray:  # (H, W)
    """Let negative strokes take pixels out of a segment, and add none: min(s, threshold + lead).

    What is cut at the threshold then asks for both, a score as high and a lead of at least 0; the
    lower of the two ranks a pixel.
    """
    return scores if lead is None else np.minimum(scores, threshold + lead)


def _check_finite(scores: FloatArray) -> None:
    if not np.isfinite(scores).all():
        raise ValueError("scores: expected finite values, got NaN or infinity")


def _otsu_of_log(scores: FloatArray) -> float:
    top, floor = scores.max(), LOG_FLOOR * (scores.max() - scores.min())
    return float(top + floor - np.exp(_otsu(np.log(top - scores + floor))))


@cache  # once for a prompt, however many methods are fitted to it
def _say_what_stands_in(label: str) -> None:
    log.warning("%s: no reference mask for 'best_iou': cut by %r", label, WITHOUT_REFERENCE)
