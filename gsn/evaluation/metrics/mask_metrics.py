"""How well a predicted mask and the scores it was cut from fit the true mask of a view."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from gsn.checks import check_shape
from gsn.evaluation.metrics.boundary import boundary_f, boundary_tolerance_px, check_boolean


def score_mask(
    predicted: npt.NDArray[np.bool_],  # (H, W)
    truth: npt.NDArray[np.bool_],  # (H, W)
    scores: npt.NDArray[np.float64],  # (H, W)
    boundary_tolerance: float,
) -> dict[str, float]:
    """Compare a segmentation with the true mask.

    A view that does not show the object asks whether nothing is found in it: as in DAVIS, IoU and
    boundary F are then 1 if nothing is predicted, and 0 if anything is, however small.

    Args:
        predicted: Pixels taken for the object.
        truth: Pixels of the object.
        scores: What `predicted` was cut from: higher is more likely the object.
        boundary_tolerance: How far off a boundary still counts as right, as a share of the
            diagonal; `DAVIS_TOLERANCE` is usual.

    Returns:
        `iou`: |P ∧ G| / |P ∨ G|; 1 if both are empty.
        `accuracy`: the share of pixels, object or not, that are right.
        `boundary_f`: see `gsn.evaluation.metrics.boundary.boundary_f`.
        `average_precision`: the area under the precision-recall curve of `scores`, summed in steps.
            Absent if the object is not in the view: without a true pixel there is no recall.

    Raises:
        ValueError: Shapes do not fit, there is no pixel, the arrays of masks are not boolean, or a
            score is not finite.
    """
    size = check_shape("predicted", predicted, "H W")
    check_shape("truth", truth, "H W", size)
    check_shape("scores", scores, "H W", size)
    check_boolean(predicted=predicted, truth=truth)
    if predicted.size == 0:
        raise ValueError(f"predicted: a mask without pixels, {predicted.shape}, has no score")
    if not np.isfinite(scores).all():
        raise ValueError("scores: expected finite values, got NaN or infinity")
    union = int((predicted | truth).sum())
    tolerance_px = boundary_tolerance_px(size["H"], size["W"], boundary_tolerance)
    metrics = {
        "iou": int((predicted & truth).sum()) / union if union else 1.0,
        "accuracy": float((predicted == truth).mean()),
        "boundary_f": boundary_f(predicted, truth, tolerance_px),
    }
    if truth.any():
        metrics["average_precision"] = float(average_precision_score(truth.ravel(), scores.ravel()))
    return metrics
