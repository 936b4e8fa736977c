"""Feature maps in, PCA coefficients out: threads read ahead and write behind the arithmetic."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gsn.features.basis import BasisError, Projector, moved
from gsn.features.pca import PcaFit
from gsn.features.store import FeatureMaps, HalfArray
from gsn.features.update import StoreUpdate
from gsn.threads import map_in_threads

N_THREADS = 8  # at most twice as many maps are in memory
INFINITY_BITS = 0x7C00  # in float16; NaN lies above, all other magnitudes below


def read_finite(maps: FeatureMaps, view: int) -> HalfArray:  # (h, w, C)
    """Read one map.

    Raises:
        StoreError: It is missing or damaged.
        BasisError: It holds NaN or infinity.
    """
    features = maps.read(view)
    magnitudes = features.view(np.uint16) & 0x7FFF  # ordered as the numbers, 20 times as fast
    if magnitudes.max() >= INFINITY_BITS:
        raise BasisError(f"{place(maps, view)}: features hold NaN or infinity")
    return features


def place(maps: FeatureMaps, view: int) -> str:
    """Name a map, for messages."""
    return f"{maps.path}: view {maps.header.view_names[view]!r}"


def fit_maps(
    views: Sequence[tuple[FeatureMaps, int]],
    device: torch.device,
    on_map: Callable[[], object],
) -> PcaFit:
    """Take in these views of stores of equal channels, in their order.

    Args:
        views: Store and view; at least one.
        device: Where the sums are kept.
        on_map: Called after each map.

    Raises:
        StoreError: A map is missing or damaged.
        BasisError: One holds NaN or infinity.
    """
    first, _ = views[0]
    pca = PcaFit(first.header.map_shape[-1], device)

    def load(item: tuple[FeatureMaps, int]) -> Tensor:
        return moved(read_finite(*item), device)

    for features in map_in_threads(views, load, N_THREADS):
        pca.add(features)
        on_map()
    return pca


def write_coefficients(
    maps: FeatureMaps, update: StoreUpdate, project: Projector, on_map: Callable[[], object]
) -> None:
    """Bring a store of coefficients up to date.

    Args:
        maps: To be projected.
        update: Of the store to write, with the same views.
        project: The basis.
        on_map: Called after each map.

    Raises:
        StoreError: A map is missing or damaged.
        BasisError: One holds NaN or infinity, or has a coefficient beyond float16.
    """

    def make(view: int) -> None:
        features = read_finite(maps, view)
        try:
            update.write(view, project.checked(features))
        except BasisError as error:
            raise BasisError(f"{place(maps, view)}: {error}") from error

    update.begin()
    for _ in map_in_threads(update.missing, make, N_THREADS):
        on_map()
    update.finish()
