"""The basis of features that are kept as coefficients: it lies beside them, and says what made it.

Not the basis of the targets: that one is fitted later, on what is kept, and can be changed without
the teacher.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from gsn.atomic import remove
from gsn.features import basis as basis_code
from gsn.features import pca as pca_code
from gsn.features.archive import Archive
from gsn.features.basis import Basis, BasisError
from gsn.fingerprint import sha256_of_code, sha256_of_settings

BASIS_FILE = "basis.npz"
log = logging.getLogger(__name__)


def basis_made_by(
    teacher: Mapping[str, object], dims: int, images: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    """Say what decides a basis.

    Args:
        teacher: Fingerprint of the teacher.
        dims: Number of directions.
        images: Scene -> view -> hash of the photograph, of all views it is fitted on.
    """
    return {
        "features": dict(teacher),
        "dims": dims,
        "n_views": {scene: len(views) for scene, views in images.items()},
        "images": sha256_of_settings(images),
        "code": sha256_of_code(pca_code),
    }


def coefficients_made_by(teacher: Mapping[str, object], basis: Basis) -> dict[str, object]:
    """Say what makes the coefficients of a teacher's features in a basis."""
    return {
        "features": dict(teacher),
        "basis": {"file": BASIS_FILE, "sha256": basis.sha256},
        "code": sha256_of_code(basis_code),
    }


def find_basis(folder: Path, archive: Archive, made_by: Mapping[str, object]) -> Basis | None:
    """Find the basis made by `made_by`, in the folder or in the archive."""
    for path in (folder / BASIS_FILE, archive.place(made_by, BASIS_FILE)):
        basis = _read(path)
        if basis is not None and sha256_of_settings(basis.made_by) == sha256_of_settings(made_by):
            return basis
    return None


def keep_basis(folder: Path, archive: Archive, basis: Basis | None) -> None:
    """Let this basis, or none, lie in the folder; another that lies there goes to the archive."""
    path = folder / BASIS_FILE
    found = _read(path)
    if basis is not None and found is not None and found.sha256 == basis.sha256:
        if sha256_of_settings(found.made_by) == sha256_of_settings(basis.made_by):
            return
    if found is not None:
        archive.move(path, archive.place(found.made_by, BASIS_FILE))
    remove(path)
    if basis is not None:
        basis.save(path)
        archive.forget(basis.made_by, BASIS_FILE)


def _read(path: Path) -> Basis | None:
    try:
        return Basis.load(path)
    except FileNotFoundError:
        return None
    except BasisError as error:
        log.warning("%s; it is not reused", error)
        return None
