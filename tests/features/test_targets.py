from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.features.pca import PcaFit
from gsn.features.store import StoreError, StoreHeader
from gsn.features.targets import load_targets, target_header
from gsn.features.update import StoreUpdate, store_path
from gsn.geometry.cell_grid import CellGrid

CPU = torch.device("cpu")
FEATURES = StoreHeader(
    made_by={"name": "fake"},
    view_names=("a", "b"),
    fingerprints=("1", "2"),
    map_shape=(3, 4, 6),
    cell_grid=CellGrid((3.5, 2.5), (8.0, 6.0)),
    image_size=(25, 24),
)
MAPS = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float16)


def basis_of(maps, dims=2):
    pca = PcaFit(6)
    pca.add(maps)
    return pca.solve(dims, {})


def write(folder, basis, file="basis.npz"):
    basis.save(folder / file)
    update = StoreUpdate(store_path(folder, "scene"), target_header(FEATURES, basis, file))
    update.begin()
    for view in update.missing:
        update.write(view, basis.projector(CPU).checked(MAPS[view]))
    update.finish()


@pytest.mark.parametrize("file", ["basis.npz", "scene.basis.npz"])
def test_targets_come_back_as_coefficients_of_their_basis(tmp_path, file):
    write(tmp_path, basis_of(MAPS), file)
    targets = load_targets(tmp_path, "scene")
    header = targets.maps.header
    assert header.map_shape == (3, 4, 2)
    assert header.view_names == ("a", "b")
    assert (header.cell_grid, header.image_size) == (FEATURES.cell_grid, FEATURES.image_size)
    assert header.made_by["features"] == FEATURES.made_by
    for view in range(2):
        centred = MAPS[view].astype(np.float64) - MAPS.reshape(-1, 6).astype(np.float64).mean(0)
        by_hand = np.einsum("hwc,dc->hwd", centred, targets.basis.components)
        np.testing.assert_allclose(targets.maps.read(view), by_hand, rtol=1e-3, atol=1e-3)


def test_targets_of_another_basis_are_refused(tmp_path):
    write(tmp_path, basis_of(MAPS))
    basis_of(MAPS[:1]).save(tmp_path / "basis.npz")
    with pytest.raises(StoreError, match=r"scene\.zarr: made with the basis .* must come from one"):
        load_targets(tmp_path, "scene")


def test_targets_without_their_basis_are_refused(tmp_path):
    write(tmp_path, basis_of(MAPS))
    (tmp_path / "basis.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"basis\.npz: no such PCA basis"):
        load_targets(tmp_path, "scene")


def test_features_are_no_targets(tmp_path):
    update = StoreUpdate(store_path(tmp_path, "scene"), FEATURES)
    update.begin()
    for view in update.missing:
        update.write(view, MAPS[view])
    update.finish()
    with pytest.raises(StoreError, match="not made with a PCA basis"):
        load_targets(tmp_path, "scene")


def test_another_basis_or_other_features_make_other_fingerprints():
    one, other = basis_of(MAPS), basis_of(MAPS[:1])
    fingerprints = {
        *target_header(FEATURES, one, "basis.npz").fingerprints,
        *target_header(FEATURES, other, "basis.npz").fingerprints,
    }
    assert len(fingerprints) == 4


@pytest.mark.parametrize("trained", [True, False])
def test_the_teacher_is_named_also_if_the_features_were_coefficients(tmp_path, trained):
    made_by = {"name": "dino", "weights": {"trained": trained}}
    for features in (made_by, {"features": made_by, "basis": {"sha256": "1"}, "code": "2"}):
        basis = basis_of(MAPS)
        basis.save(tmp_path / "basis.npz")
        header = target_header(replace(FEATURES, made_by=features), basis, "basis.npz")
        update = StoreUpdate(store_path(tmp_path, "scene"), header)
        update.begin()
        for view in update.missing:
            update.write(view, basis.projector(CPU).checked(MAPS[view]))
        update.finish()
        name = load_targets(tmp_path, "scene").teacher
        assert name == ("dino" if trained else "dino, untrained")
