"""Exact PCA of feature vectors that are seen once, a map at a time: fit, project, invert, keep."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gsn.atomic import complete_or_absent
from gsn.checks import check_shape
from gsn.fingerprint import sha256_of_array, sha256_of_settings

DoubleArray = npt.NDArray[np.float64]
AnyFloatArray = npt.NDArray[np.floating]


class BasisError(ValueError):
    """A basis cannot be fitted or read; the message says why."""


@dataclass(frozen=True)
class Basis:
    """Mean and principal directions of a set of feature vectors.

    Signs are fixed: the entry of largest magnitude of each direction is positive.
    """

    mean: DoubleArray  # (C,)
    components: DoubleArray  # (D, C), orthonormal rows, by falling variance
    explained_variance: DoubleArray  # (D,), along each direction, with n - 1 in the denominator
    explained_variance_ratio: DoubleArray  # (D,), share of the total variance
    n_samples: int  # number of vectors it was fitted on
    made_by: dict[str, object]  # what these vectors were, as plain values

    @property
    def sha256(self) -> str:
        """Hash of what decides a projection: mean and components."""
        parts = {"mean": self.mean, "components": self.components}
        return sha256_of_settings({name: sha256_of_array(part) for name, part in parts.items()})

    def project(
        self,
        features: AnyFloatArray,  # (..., C)
    ) -> DoubleArray:  # (..., D)
        """Return the coefficients of features along the directions, not normalised."""
        check_shape("features", features.reshape(-1, features.shape[-1]), f"_ {self.mean.size}")
        return np.asarray((features.astype(np.float64) - self.mean) @ self.components.T)

    def invert(
        self,
        coefficients: AnyFloatArray,  # (..., D)
    ) -> DoubleArray:  # (..., C)
        """Return the features that have these coefficients and nothing beside the basis."""
        flat = coefficients.reshape(-1, coefficients.shape[-1])
        check_shape("coefficients", flat, f"_ {len(self.components)}")
        return np.asarray(coefficients.astype(np.float64) @ self.components + self.mean)

    def save(self, path: Path) -> None:
        """Write an .npz file with the hash in it; equal bases, equal bytes."""
        with complete_or_absent(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                mean=self.mean,
                components=self.components,
                explained_variance=self.explained_variance,
                explained_variance_ratio=self.explained_variance_ratio,
                n_samples=np.int64(self.n_samples),
                made_by=np.str_(json.dumps(self.made_by, sort_keys=True)),
                sha256=np.str_(self.sha256),
            )

    @staticmethod
    def load(path: Path) -> "Basis":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            BasisError: The file is damaged, or holds no basis.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such PCA basis")
        try:
            with np.load(path, allow_pickle=False) as file:
                basis = Basis(
                    mean=file["mean"],
                    components=file["components"],
                    explained_variance=file["explained_variance"],
                    explained_variance_ratio=file["explained_variance_ratio"],
                    n_samples=int(file["n_samples"]),
                    made_by=json.loads(str(file["made_by"])),
                )
                stored = str(file["sha256"])
        except (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BasisError(f"{path}: not a readable PCA basis: {error}") from error
        if basis.sha256 != stored:
            raise BasisError(f"{path}: damaged: its values hash to {basis.sha256}, not {stored}")
        return basis


class PcaFit:
    """Mean and scatter matrix of vectors seen so far: memory C × C, whatever their number.

    Batches are joined by the pairwise update of Chan, Golub and LeVeque 1979 (STAN-CS-79-773), in
    float64: unlike the sum of x xᵀ it loses nothing where the mean is far from zero.
    """

    def __init__(self, channels: int) -> None:
        self.n_samples = 0
        self._mean: DoubleArray = np.zeros(channels)
        self._scatter: DoubleArray = np.zeros((channels, channels))

    def add(
        self,
        features: AnyFloatArray,  # (..., C)
    ) -> None:
        """Take in a batch of vectors.

        Raises:
            BasisError: One is NaN or infinite.
            ValueError: They have another number of channels.
        """
        vectors = features.reshape(-1, features.shape[-1]).astype(np.float64)
        n_new = check_shape("features", vectors, f"N {self._mean.size}")["N"]
        if not np.isfinite(vectors).all():
            raise BasisError("features hold NaN or infinity")
        if n_new == 0:
            return
        mean = vectors.mean(axis=0)
        vectors -= mean
        shift = mean - self._mean
        n_all = self.n_samples + n_new
        self._scatter += vectors.T @ vectors
        self._scatter += np.outer(shift, shift) * (self.n_samples * n_new / n_all)
        self._mean += shift * (n_new / n_all)
        self.n_samples = n_all

    def solve(self, dims: int, made_by: dict[str, object]) -> Basis:
        """Return the basis of the `dims` directions of largest variance.

        Raises:
            BasisError: There are fewer channels, or fewer vectors, than `dims`.
        """
        channels = self._mean.size
        if dims > channels:
            raise BasisError(f"{dims} PCA dimensions asked for, features have {channels} channels")
        if dims > self.n_samples:
            raise BasisError(f"{dims} PCA dimensions asked for, fitted on {self.n_samples} vectors")
        variances, directions = np.linalg.eigh(self._scatter / max(self.n_samples - 1, 1))
        variances = variances.clip(min=0.0)[::-1]  # eigh sorts upwards
        components = directions.T[::-1][:dims].copy()
        largest = np.abs(components).argmax(axis=1)
        components *= np.sign(components[np.arange(dims), largest])[:, None]
        total = variances.sum()
        return Basis(
            mean=self._mean.copy(),
            components=components,
            explained_variance=variances[:dims].copy(),
            explained_variance_ratio=variances[:dims] / total if total > 0 else np.zeros(dims),
            n_samples=self.n_samples,
            made_by=made_by,
        )
