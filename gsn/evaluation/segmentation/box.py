"""Which pixels of a box are the object: those that look like nothing around the box."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gsn.evaluation.segmentation.centroids import Metric, fit_centroids, score_map
from gsn.evaluation.segmentation.threshold import CONSTANT_RANGE, segment

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


def find_in_box(
    features: Tensor,  # (H, W, C), of the prompt view
    box: Mask,  # (H, W), holds the object and what is around it
    n_clusters: int,
    seed: int,
    metric: Metric,
) -> Mask:  # (H, W), within the box, at least one pixel
    """Cut a box by how far its pixels are from the kinds of feature found outside of it.

    The cut is Otsu's, among the distances within the box. Among their logarithms it would do better
    in a tight box (mean IoU of what a prompt then finds in other views 0.76 against 0.71, on two
    scenes), but much worse in one of 6 pixels more on each side (0.62 against 0.73), and drawn
    boxes are loose.
    A box that the object fills is cut in two all the same, so the rest of it is left to the
    threshold. Where all distances are equal nothing stands out: the whole box is the object.

    Raises:
        ValueError: Shapes do not fit, nothing is outside of the box, features there are not finite.
    """
    around = fit_centroids(features, ~box, n_clusters, seed, metric)
    unlike = -score_map(features, around)
    inside = unlike[box]
    if inside.max() - inside.min() <= CONSTANT_RANGE:
        return box
    return box & segment(unlike, _split(inside))


def _split(values: FloatArray) -> float:
    """Return Otsu's cut, midway between two of the values.

    The cut of a histogram falls into the upper bin of the lower class where a gap follows it: one
    pixel of background above it would be a cluster of its own, and so the whole background object.
    """
    ordered = np.sort(values)
    n_below = np.arange(1, len(ordered))
    n_above = len(ordered) - n_below
    total = np.cumsum(ordered)
    gap = (total[-1] - total[:-1]) / n_above - total[:-1] / n_below
    place = int(np.argmax(n_below * n_above * gap**2))
    return float(ordered[place] + ordered[place + 1]) / 2
