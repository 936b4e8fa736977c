"""How well a predicted mask and the scores it was cut from fit the true mask of a view."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from gsn.checks import check_shape


def score_mask(
    predicted: npt.NDArray[np.bool_],  # (H, W)
    truth: npt.NDArray[np.bool_],  # (H, W)
    scores: npt.NDArray[np.float64],  # (H, W)
) -> dict[str, float]:
    """Compare a segmentation with the true mask.

    Args:
        predicted: Pixels taken for the object.
        truth: Pixels of the object.
        scores: What `predicted` was cut from: higher is more likely the object.

    Returns:
        `iou`: |P ∧ G| / |P ∨ G|; 1 if both are empty.
        `accuracy`: the share of pixels, object or not, that are right.
        `average_precision`: the area under the precision-recall curve of `scores`, summed in steps.
            Absent if the object is not in the view: without a true pixel there is no recall.

    Raises:
        ValueError: Shapes do not fit, or the arrays of masks are not boolean.
    """
    size = check_shape("predicted", predicted, "H W")
    check_shape("truth", truth, "H W", size)
    check_shape("scores", scores, "H W", size)
    for name, mask in (("predicted", predicted), ("truth", truth)):
        if mask.dtype != np.bool_:
            raise ValueError(f"{name}: expected a boolean array, got {mask.dtype}")
    union = int((predicted | truth).sum())
    metrics = {
        "iou": int((predicted & truth).sum()) / union if union else 1.0,
        "accuracy": float((predicted == truth).mean()),
    }
    if truth.any():
        metrics["average_precision"] = float(average_precision_score(truth.ravel(), scores.ravel()))
    return metrics
