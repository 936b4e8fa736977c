"""A PCA basis: project features onto it, on the CPU or a device, invert that, keep it in a file."""

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gsn.atomic import complete_or_absent
from gsn.checks import check_shape
from gsn.fingerprint import sha256_of_array, sha256_of_settings
from gsn.seal import check_seal, write_sealed

DoubleArray = npt.NDArray[np.float64]
HalfArray = npt.NDArray[np.float16]
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

    def projector(self, device: torch.device) -> "Projector":
        """Return what projects on a device."""
        return Projector(self, device)

    def after(self, inner: "Basis") -> "Basis":
        """Return the basis whose coefficients are those of `self` of the coefficients of `inner`.

        Its explained variance is that of `self`; its share of the total is taken to be `self`'s
        share of `inner`'s, which is exact if both were fitted on the same vectors.

        Raises:
            ValueError: `self` does not begin at the coefficients of `inner`.
        """
        check_shape("mean of the outer basis", self.mean, str(len(inner.components)))
        return replace(
            self,
            mean=inner.invert(self.mean),
            components=self.components @ inner.components,
            explained_variance_ratio=self.explained_variance_ratio
            * inner.explained_variance_ratio.sum(),
        )

    def invert(
        self,
        coefficients: AnyFloatArray,  # (..., D)
    ) -> DoubleArray:  # (..., C)
        """Return the features that have these coefficients and nothing beside the basis."""
        flat = coefficients.reshape(-1, coefficients.shape[-1])
        check_shape("coefficients", flat, f"_ {len(self.components)}")
        return np.asarray(coefficients.astype(np.float64) @ self.components + self.mean)

    def save(self, path: Path) -> None:
        """Write a sealed .npz file with the hash in it; equal bases, equal bytes."""
        content = io.BytesIO()
        np.savez(
            content,
            mean=self.mean,
            components=self.components,
            explained_variance=self.explained_variance,
            explained_variance_ratio=self.explained_variance_ratio,
            n_samples=np.int64(self.n_samples),
            made_by=np.str_(json.dumps(self.made_by, sort_keys=True)),
            sha256=np.str_(self.sha256),
        )
        with complete_or_absent(path) as partial:
            write_sealed(partial, content.getbuffer())

    @staticmethod
    def load(path: Path) -> "Basis":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            BasisError: The file is damaged, or holds no basis.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such PCA basis")
        check_seal(path, BasisError)
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


class Projector:
    """A basis on a device: turns feature vectors into the float16 coefficients that are kept.

    It computes in float64 as `Basis.project` does, so that devices agree to a rounding.
    """

    def __init__(self, basis: Basis, device: torch.device) -> None:
        self.device = device
        self._mean = torch.from_numpy(basis.mean).to(device)
        self._directions = torch.from_numpy(basis.components).to(device).T

    def __call__(
        self,
        features: Tensor | AnyFloatArray,  # (..., C), on any device
    ) -> Tensor:  # (..., D)
        """Return the coefficients as float16 on the device, without waiting for it.

        Those beyond the range of float16 come out infinite.
        """
        vectors = moved(features, self.device)
        check_shape("features", vectors.reshape(-1, vectors.shape[-1]), f"_ {len(self._mean)}")
        return ((vectors.double() - self._mean) @ self._directions).half()

    def checked(
        self,
        features: Tensor | AnyFloatArray,  # (..., C), on any device
    ) -> HalfArray:  # (..., D)
        """Return the coefficients in host memory.

        Raises:
            BasisError: One is NaN or beyond float16.
        """
        coefficients: HalfArray = self(features).cpu().numpy()
        if not np.isfinite(coefficients).all():
            raise BasisError("a coefficient is NaN or beyond the range of float16")
        return coefficients


def moved(features: Tensor | AnyFloatArray, device: torch.device) -> Tensor:
    """Bring features to a device in the type they have, so that few bytes travel."""
    if not isinstance(features, Tensor):
        features = torch.from_numpy(np.require(features, requirements="W"))
    return features.to(device)
