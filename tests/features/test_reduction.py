import numpy as np
import pytest
import torch

from gsn.features.basis import BasisError
from gsn.features.pca import PcaFit
from gsn.features.reduction import N_THREADS, fit_maps, read_finite, write_coefficients
from gsn.features.store import FeatureMaps, StoreError, StoreHeader, chunk_path
from gsn.features.targets import target_header
from gsn.features.update import StoreUpdate
from gsn.geometry.cell_grid import CellGrid

CPU = torch.device("cpu")
N_VIEWS = 30
SHAPE = (3, 4, 6)  # h, w, C


def values_of(view):
    return np.random.default_rng(view).standard_normal(SHAPE).astype(np.float16)


def write_store(path, change=None):
    header = StoreHeader(
        made_by={"name": "fake"},
        view_names=tuple(f"view_{k}" for k in range(N_VIEWS)),
        fingerprints=tuple(str(k) for k in range(N_VIEWS)),
        map_shape=SHAPE,
        cell_grid=CellGrid((1.5, 1.5), (4, 4)),
        image_size=(12, 16),
    )
    update = StoreUpdate(path, header)
    update.begin()
    for view in update.missing:
        values = values_of(view)
        if change is not None:
            change(view, values)
        update.write(view, values)
    update.finish()
    return FeatureMaps(path)


@pytest.fixture
def maps(tmp_path):
    return write_store(tmp_path / "s.zarr")


def fit(maps, dims=4):
    return fit_maps([(maps, view) for view in range(N_VIEWS)], CPU, lambda: None).solve(dims, {})


def test_maps_are_taken_in_one_after_another_in_their_order(maps):
    order = [7, 3, 19, 0, 11, 2, 5, 13, 1, 17, 4]
    expected = PcaFit(6)
    for view in order:
        expected.add(values_of(view))
    counted = []
    got = fit_maps([(maps, view) for view in order], CPU, lambda: counted.append(1))
    assert got.solve(6, {}).sha256 == expected.solve(6, {}).sha256  # each bit
    assert len(counted) == len(order)


def test_coefficients_of_all_missing_views_are_written(maps, tmp_path):
    basis = fit(maps)
    header = target_header(maps.header, basis, "basis.npz")
    update = StoreUpdate(tmp_path / "t.zarr", header)
    counted = []
    write_coefficients(maps, update, basis.projector(CPU), lambda: counted.append(1))
    got = FeatureMaps(tmp_path / "t.zarr")
    for view in range(N_VIEWS):
        np.testing.assert_array_equal(
            got.read(view), basis.project(values_of(view)).astype(np.float16)
        )
    assert len(counted) == N_VIEWS
    assert StoreUpdate(tmp_path / "t.zarr", header).is_current


def test_no_more_maps_are_in_memory_than_threads_ask_for(maps, monkeypatch):
    begun, most = [], []
    read, add = FeatureMaps.read, PcaFit.add
    monkeypatch.setattr(FeatureMaps, "read", lambda *args: (begun.append(1), read(*args))[1])

    def slow_add(self, features):
        most.append(len(begun) - len(most))
        add(self, features)

    monkeypatch.setattr(PcaFit, "add", slow_add)
    fit(maps)
    assert max(most) <= 2 * N_THREADS + 1
    assert len(most) == N_VIEWS


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_name(tmp_path, bad):
    def spoil(view, values):
        if view in (5, 6):
            values[1, 2, 3] = bad

    maps = write_store(tmp_path / "bad.zarr", spoil)
    with pytest.raises(BasisError, match=r"bad\.zarr: view 'view_5': features hold NaN or inf"):
        fit(maps)


def test_the_largest_finite_numbers_are_taken(tmp_path):
    def stretch(view, values):
        values[0, 0, 0] = np.finfo(np.float16).max
        values[0, 0, 1] = np.finfo(np.float16).min

    maps = write_store(tmp_path / "s.zarr", stretch)
    assert read_finite(maps, 2)[0, 0].tolist()[:2] == [65504, -65504]


def test_the_first_damaged_map_is_named_and_nothing_is_published(maps, tmp_path):
    basis = fit(maps)
    for view in (9, 4):
        path = chunk_path(maps.path, view)
        path.write_bytes(path.read_bytes()[:-1])
    update = StoreUpdate(tmp_path / "t.zarr", target_header(maps.header, basis, "basis.npz"))
    with pytest.raises(StoreError, match=r"c\.4\.0\.0\.0: the map of view 'view_4' is damaged"):
        write_coefficients(maps, update, basis.projector(CPU), lambda: None)
    assert not (tmp_path / "t.zarr").exists()
