"""Exact PCA of feature vectors that are seen once, a map at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from gsn.checks import check_shape
from gsn.features.basis import AnyFloatArray, Basis, BasisError, DoubleArray, moved

CPU = torch.device("cpu")


class PcaFit:
    """Mean and scatter matrix of vectors seen so far: memory C × C, whatever their number.

    Batches are joined by the pairwise update of Chan, Golub and LeVeque 1979 (STAN-CS-79-773), in
    float64 on every device: unlike the sum of x xᵀ it loses nothing where the mean is far from
    zero.
    """

    def __init__(self, channels: int, device: torch.device = CPU) -> None:
        self.n_samples = 0
        self.device = device
        self._mean = torch.zeros(channels, dtype=torch.float64, device=device)
        self._scatter = torch.zeros(channels, channels, dtype=torch.float64, device=device)

    def add(
        self,
        features: Tensor | AnyFloatArray,  # (..., C), on any device
    ) -> None:
        """Take in a batch of vectors; on a GPU this does not wait for the result.

        Raises:
            BasisError: One is NaN or infinite. On a GPU it is `solve` that says so.
            ValueError: They have another number of channels.
        """
        batch = moved(features, self.device)
        # A copy in every case: it is centred in place.
        vectors = batch.reshape(-1, batch.shape[-1]).to(torch.float64, copy=True)
        n_new = check_shape("features", vectors, f"N {len(self._mean)}")["N"]
        if n_new == 0:
            return
        mean = vectors.mean(dim=0)
        if self.device.type == "cpu":
            check_finite(mean)
        vectors -= mean
        shift = mean - self._mean
        n_all = self.n_samples + n_new
        self._scatter.addmm_(vectors.T, vectors)
        self._scatter.addr_(shift, shift, alpha=self.n_samples * n_new / n_all)
        self._mean += shift * (n_new / n_all)
        self.n_samples = n_all

    def solve(self, dims: int, made_by: dict[str, object]) -> Basis:
        """Return the basis of the `dims` directions of largest variance.

        Raises:
            BasisError: There are fewer channels, or fewer vectors, than `dims`, or a vector was
                NaN or infinite.
        """
        channels = len(self._mean)
        if dims > channels:
            raise BasisError(f"{dims} PCA dimensions asked for, features have {channels} channels")
        if dims > self.n_samples:
            raise BasisError(f"{dims} PCA dimensions asked for, fitted on {self.n_samples} vectors")
        check_finite(self._mean)
        with one_thread():
            ascending, columns = torch.linalg.eigh(self._scatter / max(self.n_samples - 1, 1))
        variances = ascending.clamp(min=0.0).flip(0)
        components = columns.T.flip(0)[:dims]
        largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
        total = variances.sum()
        shares = variances[:dims] / total if total > 0 else torch.zeros(dims)
        return Basis(
            mean=host_copy(self._mean),
            components=host_copy(components * largest.sign()),
            explained_variance=host_copy(variances[:dims]),
            explained_variance_ratio=host_copy(shares),
            n_samples=self.n_samples,
            made_by=made_by,
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let a basis have the same bits on a CPU however many threads torch may use.

    Sums and products have them anyway, LAPACK's eigenvectors do not.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def check_finite(mean: Tensor) -> None:
    """Refuse vectors by their mean: one value that is NaN or infinite makes it so for good."""
    if not torch.isfinite(mean).all():
        raise BasisError("features hold NaN or infinity")


def host_copy(values: Tensor) -> DoubleArray:
    """Return a float64 array that shares no memory with the tensor."""
    return np.array(values.cpu().numpy(), dtype=np.float64, order="C")
