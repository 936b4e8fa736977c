"""Texts embedded by a teacher, and how to compare them with features in a PCA basis."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gsn.atomic import complete_or_absent
from gsn.checks import check_shape
from gsn.features.basis import AnyFloatArray, Basis, DoubleArray
from gsn.fingerprint import sha256_of_array, sha256_of_settings
from gsn.seal import check_seal, write_sealed

PROMPTS_FILE = "prompts.npz"
LENGTH_TOLERANCE = 1e-3
SPHERE: Literal["sphere"] = "sphere"
Length = float | Literal["sphere"] | None
SHORTEST = 1e-12  # a vector below it has no direction


class PromptsError(ValueError):
    """Prompts cannot be made, read or used; the message says why."""


@dataclass(frozen=True)
class Prompts:
    """Texts and their vectors in the space of a teacher's features."""

    texts: tuple[str, ...]
    vectors: npt.NDArray[np.float32]  # (P, C), unit length
    made_by: dict[str, object]  # fingerprint of the teacher, as plain values

    def __post_init__(self) -> None:
        if len(set(self.texts)) < len(self.texts):
            raise PromptsError(f"prompts: expected different texts, got {list(self.texts)}")
        check_shape("vectors", self.vectors, f"{len(self.texts)} C")
        if self.vectors.dtype != np.float32:
            raise PromptsError(f"vectors: expected float32, got {self.vectors.dtype}")
        lengths = np.linalg.norm(self.vectors.astype(np.float64), axis=1)
        if not (np.abs(lengths - 1) <= LENGTH_TOLERANCE).all():  # also where one is NaN
            raise PromptsError(f"vectors: expected unit length, got {lengths.tolist()}")

    @property
    def sha256(self) -> str:
        """Hash of texts, vectors and what made them."""
        vectors = sha256_of_array(self.vectors)
        return sha256_of_settings(
            {"texts": list(self.texts), "vectors": vectors, "made_by": self.made_by}
        )

    def save(self, path: Path) -> None:
        """Write a sealed .npz file with the hash in it; equal prompts, equal bytes."""
        content = io.BytesIO()
        np.savez(
            content,
            texts=np.str_(json.dumps(self.texts)),
            vectors=self.vectors,
            made_by=np.str_(json.dumps(self.made_by, sort_keys=True)),
            sha256=np.str_(self.sha256),
        )
        with complete_or_absent(path) as partial:
            write_sealed(partial, content.getbuffer())

    @staticmethod
    def load(path: Path) -> "Prompts":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            PromptsError: The file is damaged, or holds no prompts.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file of prompts")
        check_seal(path, PromptsError)
        try:
            with np.load(path, allow_pickle=False) as file:
                prompts = Prompts(
                    texts=tuple(json.loads(str(file["texts"]))),
                    vectors=file["vectors"],
                    made_by=json.loads(str(file["made_by"])),
                )
                stored = str(file["sha256"])
        except (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise PromptsError(f"{path}: not a readable file of prompts: {error}") from error
        if prompts.sha256 != stored:
            raise PromptsError(
                f"{path}: damaged: its values hash to {prompts.sha256}, not {stored}"
            )
        return prompts


def load_prompts(folder: Path) -> Prompts | None:
    """Read the prompts that lie in a folder of features or targets; None if there are none.

    Raises:
        PromptsError: The file is damaged.
    """
    path = folder / PROMPTS_FILE
    return Prompts.load(path) if path.is_file() else None


def typical_length(basis: Basis) -> float:
    """Return the root mean square length of the coefficients that the basis was fitted on."""
    return float(np.sqrt(basis.explained_variance.sum()))


class TextQuery:
    """Prompts, ready to be compared with coefficients in a PCA basis.

    The feature x of coefficients y is m + Wᵀ y, with the mean m and the directions W (D, C) of the
    basis. Its cosine with a prompt t of unit length needs no vector of C channels:

        cos = (m·t + y·W t) / |x|,   |x|² = |m|² + 2 y·W m + |y|²

    The dot product y·W t alone would rank prompts as if no feature had the common part m.

    Rendered coefficients are only directions. They are given a `length` first: one and the same
    (`typical_length`), or each the one that makes |x| typical, `SPHERE`. Features that share a
    space with texts are of unit length, so this says how far to go from m along y:

        |x|² = |m|² + Σ variances   ⇒   |y| = √(b² + Σ variances) - b,   b = W m · y / |y|
    """

    def __init__(self, basis: Basis, prompts: Prompts, length: Length = None) -> None:
        """Bring prompts into a basis.

        Args:
            basis: Of the coefficients.
            prompts: In the space of the features that the basis was fitted on.
            length: Given to coefficients, whatever theirs is; None: they keep their own.

        Raises:
            PromptsError: The prompts are of another number of channels than the basis.
        """
        channels = prompts.vectors.shape[1]
        if channels != basis.mean.size:
            raise PromptsError(
                f"prompts of {channels} channels for a basis of {basis.mean.size}: they are of "
                "another teacher than the features"
            )
        vectors = prompts.vectors.astype(np.float64)
        self.texts = prompts.texts
        self.length = length
        self._directions: DoubleArray = vectors @ basis.components.T  # (P, D), W t
        self._offsets: DoubleArray = vectors @ basis.mean  # (P,), m·t
        self._mean: DoubleArray = basis.components @ basis.mean  # (D,), W m
        self._mean_squared = float(basis.mean @ basis.mean)
        self._variance = float(basis.explained_variance.sum())

    def cosines(
        self,
        coefficients: AnyFloatArray,  # (..., D)
    ) -> DoubleArray:  # (..., P)
        """Return the cosine of every feature with every prompt.

        Raises:
            ValueError: The coefficients are of another basis.
        """
        y = coefficients.reshape(-1, coefficients.shape[-1]).astype(np.float64)
        check_shape("coefficients", y, f"_ {self._mean.size}")
        if self.length is not None:
            lengths = np.linalg.norm(y, axis=1, keepdims=True)
            y = self._lengthened(y / np.maximum(lengths, SHORTEST), self.length)
        squared = self._mean_squared + 2 * y @ self._mean + (y**2).sum(axis=1)
        # A sum of squares, up to rounding; a feature of no length has no direction: cosine 0.
        norms = np.sqrt(np.maximum(squared, 0))[:, None]
        dots = self._offsets + y @ self._directions.T
        cosines: DoubleArray = np.divide(
            dots, norms, out=np.zeros_like(dots), where=norms > SHORTEST
        )
        return cosines.reshape(*coefficients.shape[:-1], len(self.texts))

    def _lengthened(
        self,
        directions: DoubleArray,  # (N, D), unit length
        length: float | Literal["sphere"],
    ) -> DoubleArray:  # (N, D)
        if length != SPHERE:
            return directions * length
        towards = directions @ self._mean
        lengths: DoubleArray = np.sqrt(towards**2 + self._variance) - towards
        return directions * lengths[:, None]


def load_text_query(folder: Path, basis_file: str) -> TextQuery | None:
    """Read what text queries on rendered features need; None if the targets have no prompts.

    Args:
        folder: Of the targets.
        basis_file: Name of the basis of the scene, in `folder`.

    Raises:
        FileNotFoundError: There are prompts, but no basis.
        ValueError: A file is damaged, or they are of different teachers.
    """
    prompts = load_prompts(folder)
    if prompts is None:
        return None
    basis = Basis.load(folder / basis_file)
    return TextQuery(basis, prompts, SPHERE)
