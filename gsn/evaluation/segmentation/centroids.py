"""Segmentation of a view from a stroke drawn in another one, for any kind of feature map.

The prompt view gives everything that is fitted: the centroids of the features under the stroke
and, from its mask, the threshold. Target views are only scored; no function here takes their mask.
"""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from gsn.checks import check_shape

log = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Metric = Literal["cosine", "squared"]

N_KMEANS_STARTS = 10  # the best of these runs is kept


@dataclass(frozen=True)
class StrokePrompt:
    """What a stroke says about an object: the kinds of feature found under it."""

    centroids: Tensor  # (K, C)
    metric: Metric  # the distance in which a pixel is compared with them


def fit_prompt(
    features: Tensor,  # (H, W, C), of the prompt view
    stroke: Mask,  # (H, W)
    n_clusters: int,
    seed: int,
    metric: Metric = "cosine",
) -> StrokePrompt:
    """Cluster the features under a stroke by k-means.

    Args:
        features: Feature of every pixel.
        stroke: True where the stroke is.
        n_clusters: Number of centroids; fewer are made if the stroke has fewer distinct features.
        seed: Of the initial points.
        metric: `cosine` looks at directions alone: features are brought to unit length before.
            `squared` takes them as they are, as the reference implementation of GSN did.

    Raises:
        ValueError: Shapes do not fit, the stroke is empty, or `n_clusters` is below 1.
    """
    size = check_shape("features", features, "H W C")
    check_shape("stroke", stroke, "H W", size)
    if not stroke.any():
        raise ValueError("stroke: no pixel is set; a prompt needs at least one")
    if n_clusters < 1:
        raise ValueError(f"n_clusters: expected at least 1, got {n_clusters}")
    chosen = features[torch.from_numpy(stroke).to(features.device)].double()
    if metric == "cosine":
        chosen = F.normalize(chosen, dim=-1)
    points = chosen.cpu().numpy()
    n_distinct = len(np.unique(points, axis=0))
    if n_distinct < n_clusters:
        log.info(
            "%d clusters, not %d: the stroke has no more distinct features", n_distinct, n_clusters
        )
    k_means = KMeans(min(n_clusters, n_distinct), n_init=N_KMEANS_STARTS, random_state=seed)
    return StrokePrompt(torch.from_numpy(k_means.fit(points).cluster_centers_), metric)


def score_map(
    features: Tensor,  # (H, W, C), of any view
    prompt: StrokePrompt,
) -> FloatArray:  # (H, W)
    """Score every pixel by minus its distance to the nearest centroid; 0 is a perfect match.

    `cosine`: the distance is 1 - cos, in [0, 2]; a zero vector is at distance 1 from everything.
    `squared`: the mean over channels of the squared difference.
    """
    n_channels = prompt.centroids.shape[1]
    size = check_shape("features", features, f"H W {n_channels}")
    flat = features.reshape(-1, n_channels).double()
    centroids = prompt.centroids.to(flat)
    if prompt.metric == "cosine":
        similarity = F.normalize(flat, dim=-1) @ F.normalize(centroids, dim=-1).T
        scores = similarity.amax(dim=1) - 1.0
    else:
        # One centroid at a time: all at once would take K times the memory of the map.
        distances = [torch.square(flat - centroid).mean(dim=1) for centroid in centroids]
        scores = -torch.stack(distances).amin(dim=0)
    return scores.reshape(size["H"], size["W"]).cpu().numpy().astype(np.float64)


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
    if not np.isfinite(scores).all():
        raise ValueError("scores: expected finite values, got NaN or infinity")
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
