"""How well the outline of a predicted mask follows the true one."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from gsn.checks import check_shape

Mask = npt.NDArray[np.bool_]

DAVIS_TOLERANCE = 0.008  # of the image diagonal: how far off an outline still counts as right

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def boundary_tolerance_px(height: int, width: int, share: float) -> float:
    """Return `share` of the diagonal of a picture, at least 1 pixel.

    Raises:
        ValueError: The share is not in [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share: expected a share of the diagonal in [0, 1], got {share}")
    return max(1.0, share * math.hypot(height, width))


def boundary_f(
    predicted: Mask,  # (H, W)
    truth: Mask,  # (H, W)
    tolerance_px: float,
) -> float:
    """Compare two outlines: the F-score of DAVIS (Perazzi et al., CVPR 2016, section 4).

    Precision is the share of predicted boundary pixels that have a true one within the tolerance
    (Euclidean distance), recall the share of true ones that have a predicted one, and F is
    2 P R / (P + R). The benchmark's own code puts the boundary between pixels and rounds the
    tolerance up; here it is the outermost pixels of the mask, and the tolerance is taken as it is.

    The edge of the picture is no boundary, so that an empty mask and a full one have none.

    Returns:
        In [0, 1]. Neither has a boundary: 1 if the masks are equal, 0 if one is empty and the other
        full. One of them has none: 0.

    Raises:
        ValueError: Shapes do not fit, an array is not boolean, or the tolerance is negative.
    """
    check_shape("truth", truth, "H W", check_shape("predicted", predicted, "H W"))
    check_boolean(predicted=predicted, truth=truth)
    if not tolerance_px >= 0.0:
        raise ValueError(f"tolerance_px: expected at least 0, got {tolerance_px}")
    found, wanted = _boundary(predicted), _boundary(truth)
    if not (found.any() and wanted.any()):
        return float(np.array_equal(predicted, truth))
    precision = _share_near(found, wanted, tolerance_px)
    recall = _share_near(wanted, found, tolerance_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def check_boolean(**masks: npt.NDArray[np.generic]) -> None:
    """Refuse arrays that are not boolean; each is named by its keyword."""
    for name, mask in masks.items():
        if mask.dtype != np.bool_:
            raise ValueError(f"{name}: expected a boolean array, got {mask.dtype}")


def _boundary(mask: Mask) -> Mask:
    """Mark the pixels of a mask that have one outside it above, below, left or right."""
    if not mask.any():
        return mask
    inner = cv2.erode(mask.astype(np.uint8), _CROSS, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(mask & (inner == 0))


def _share_near(boundary: Mask, other: Mask, tolerance_px: float) -> float:
    """Return the share of the pixels of one boundary that are near to a pixel of the other."""
    away = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Both in the single precision of OpenCV: a tolerance of √5 takes a pixel that is √5 away.
    return float((away[boundary] <= np.float32(tolerance_px)).mean())
