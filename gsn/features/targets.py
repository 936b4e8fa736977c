"""Targets: the feature maps of a scene in a PCA basis, tied to that basis by its hash."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsn.features import basis as basis_code
from gsn.features.basis import Basis
from gsn.features.store import FeatureMaps, StoreError, StoreHeader
from gsn.features.update import store_path
from gsn.fingerprint import sha256_of_code, sha256_of_settings

SHARED_BASIS = "basis.npz"


@dataclass(frozen=True)
class Targets:
    """Maps of coefficients, and the basis they are coefficients of."""

    maps: FeatureMaps  # (h, w, D) each, not normalised
    basis: Basis
    basis_file: str  # its name; the same for every scene if all share one basis

    @property
    def teacher(self) -> str:
        """Name of the teacher, for titles; says so where its weights are untrained."""
        made_by: Any = self.maps.header.made_by
        while "features" in made_by:  # coefficients, perhaps of coefficients
            made_by = made_by["features"]
        name = str(made_by.get("name", "unknown"))
        trained = made_by.get("weights", {}).get("trained", False)
        return name if trained else f"{name}, untrained"


def scene_basis(scene: str) -> str:
    """Name of the file of a basis fitted on one scene."""
    return f"{scene}.{SHARED_BASIS}"


def target_header(features: StoreHeader, basis: Basis, basis_file: str) -> StoreHeader:
    """Say what the targets made of these features will be."""
    code = sha256_of_code(sys.modules[__name__], basis_code)
    parts = {"basis": basis.sha256, "code": code}
    return StoreHeader(
        made_by={
            "basis": {"file": basis_file, "sha256": basis.sha256},
            "code": code,
            "features": features.made_by,
        },
        view_names=features.view_names,
        fingerprints=tuple(
            sha256_of_settings({**parts, "features": fingerprint})
            for fingerprint in features.fingerprints
        ),
        map_shape=(*features.map_shape[:2], len(basis.components)),
        cell_grid=features.cell_grid,
        image_size=features.image_size,
    )


def load_targets(folder: Path, scene: str) -> Targets:
    """Open the targets of a scene with their basis.

    Raises:
        FileNotFoundError: The targets or the basis are missing.
        StoreError: The targets are damaged, no targets, or made from another basis than the one
            that lies beside them.
        BasisError: The basis is damaged.
    """
    maps = FeatureMaps(store_path(folder, scene))
    made_from = maps.header.made_by.get("basis")
    if not isinstance(made_from, dict):
        raise StoreError(f"{maps.path}: feature maps, but not made with a PCA basis")
    path = folder / Path(str(made_from["file"])).name
    basis = Basis.load(path)
    if basis.sha256 != made_from["sha256"]:
        raise StoreError(
            f"{maps.path}: made with the basis {str(made_from['sha256'])[:12]}, but {path} is "
            f"{basis.sha256[:12]}: they must come from one run"
        )
    return Targets(maps, basis, path.name)
