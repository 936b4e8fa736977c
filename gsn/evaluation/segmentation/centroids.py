"""Scores of pixels by the kinds of feature found under the strokes of a prompt.

Works on any feature map: rendered, the teacher's own, a baseline's. The prompt view gives
everything that is fitted; other views are only scored.
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
class Centroids:
    """What strokes say about an object: the kinds of feature found under them."""

    positive: Tensor  # (K, C), of the object
    metric: Metric  # the distance in which a pixel is compared with them
    negative: Tensor | None = None  # (L, C), of what is not the object


def fit_centroids(
    features: Tensor,  # (H, W, C), of the prompt view
    stroke: Mask,  # (H, W), on the object
    n_clusters: int,
    seed: int,
    metric: Metric = "cosine",
    negative: Mask | None = None,  # (H, W), off the object
) -> Centroids:
    """Cluster the features under strokes by k-means, those on and off the object apart.

    Args:
        features: Feature of every pixel.
        stroke: True where the object is drawn on.
        n_clusters: Number of centroids of a kind of stroke; fewer are made if it has fewer
            distinct features.
        seed: Of the initial points.
        metric: `cosine` looks at directions alone: features are brought to unit length before.
            `squared` takes them as they are, as the reference implementation of GSN did; features
            rendered by this model are of unit length, so there both rank pixels nearly alike (but
            for centroids, which are shorter the more their features differ).
        negative: True where something else is drawn on.

    Raises:
        ValueError: Shapes do not fit, a stroke is empty, features under it are not finite, or
            `n_clusters` is below 1.
    """
    check_shape("features", features, "H W C")
    if n_clusters < 1:
        raise ValueError(f"n_clusters: expected at least 1, got {n_clusters}")

    def cluster(name: str, mask: Mask) -> Tensor:
        return _cluster(_points_under(name, mask, features, metric), n_clusters, seed, name)

    negatives = cluster("negative stroke", negative) if negative is not None else None
    return Centroids(cluster("stroke", stroke), metric, negatives)


def score_map(
    features: Tensor,  # (H, W, C), of any view
    centroids: Centroids,
) -> FloatArray:  # (H, W)
    """Score every pixel by minus its distance to the nearest positive centroid; 0 is perfect.

    `cosine`: the distance is 1 - cos, in [0, 2]; a zero vector is at distance 1 from everything.
    `squared`: the mean over channels of the squared difference.
    """
    return -_distance_map(features, centroids.positive, centroids.metric)


def lead_map(
    features: Tensor,  # (H, W, C), of any view
    centroids: Centroids,
) -> FloatArray | None:  # (H, W); None without negative centroids
    """Say by how much every pixel is nearer to the positive centroids than to the negative ones."""
    if centroids.negative is None:
        return None
    away = _distance_map(features, centroids.negative, centroids.metric)
    return away - _distance_map(features, centroids.positive, centroids.metric)


def _distance_map(
    features: Tensor,  # (H, W, C)
    centroids: Tensor,  # (K, C)
    metric: Metric,
) -> FloatArray:  # (H, W)
    n_channels = centroids.shape[1]
    size = check_shape("features", features, f"H W {n_channels}")
    flat = features.reshape(-1, n_channels).double()
    if metric == "cosine":
        flat = F.normalize(flat, dim=-1)
    distances = _distance_to_nearest(flat, centroids, metric)
    return distances.reshape(size["H"], size["W"]).cpu().numpy().astype(np.float64)


def _points_under(
    name: str,
    stroke: Mask,  # (H, W)
    features: Tensor,  # (H, W, C)
    metric: Metric,
) -> FloatArray:  # (N, C)
    check_shape(name, stroke, "H W", check_shape("features", features, "H W C"))
    if not stroke.any():
        raise ValueError(f"{name}: no pixel is set; a prompt needs at least one")
    chosen = features[torch.from_numpy(stroke).to(features.device)].double()
    if not chosen.isfinite().all():
        raise ValueError(f"features under the {name}: expected finite values, got NaN or infinity")
    if metric == "cosine":
        chosen = F.normalize(chosen, dim=-1)
    return chosen.cpu().numpy().astype(np.float64)


def _cluster(
    points: FloatArray,  # (N, C)
    n_clusters: int,
    seed: int,
    name: str,
) -> Tensor:  # (K, C)
    n_distinct = len(np.unique(points, axis=0))
    if n_distinct < n_clusters:
        log.debug(
            "%d clusters, not %d: the %s has no more distinct features",
            *(n_distinct, n_clusters, name),
        )
    k_means = KMeans(min(n_clusters, n_distinct), n_init=N_KMEANS_STARTS, random_state=seed)
    return torch.from_numpy(k_means.fit(points).cluster_centers_)


def _distance_to_nearest(
    features: Tensor,  # (N, C), for `cosine` of unit length
    centroids: Tensor,  # (K, C)
    metric: Metric,
) -> Tensor:  # (N,)
    centroids = centroids.to(features)
    if metric == "cosine":
        return 1.0 - (features @ F.normalize(centroids, dim=-1).T).amax(dim=1)
    # One centroid at a time: all at once would take K times the memory of the map.
    distances = [torch.square(features - centroid).mean(dim=1) for centroid in centroids]
    return torch.stack(distances).amin(dim=0)
