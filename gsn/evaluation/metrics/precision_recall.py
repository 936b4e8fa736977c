"""Precision at fixed recalls, so that the curves of several views have a mean."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve

from gsn.checks import check_shape

FloatArray = npt.NDArray[np.float64]

N_RECALLS = 100  # 0.01, 0.02, ..., 1


def precision_recall(
    scores: FloatArray,  # (h, w)
    truth: npt.NDArray[np.bool_],  # (h, w)
) -> tuple[FloatArray, FloatArray]:  # (100,), (100,)
    """Return recalls up to 1 and the precision where each is first reached.

    Pixels are taken in by falling score, those of equal score together. Between two recalls that
    are reached the curve is a step, as in the sum that average precision is.

    Raises:
        ValueError: Shapes differ, a score is not finite, or no pixel is true: there is no recall.
    """
    check_shape("truth", truth, "h w", check_shape("scores", scores, "h w"))
    if not np.isfinite(scores).all():
        raise ValueError("scores: expected finite values, got NaN or infinity")
    if not truth.any():
        raise ValueError("truth: no pixel is set; without a true pixel there is no recall")
    precision, recall, _ = precision_recall_curve(truth.ravel(), scores.ravel())
    # scikit-learn goes from low thresholds to high ones: here recall is to rise.
    precision, recall = precision[::-1], recall[::-1]
    # Both are quotients of whole numbers: a recall of 3 / 10 is 30 / 100 to the bit.
    grid = np.arange(1, N_RECALLS + 1) / N_RECALLS
    return grid, precision[np.searchsorted(recall, grid)].astype(np.float64)
