import numpy as np
import pytest

from gsn.extraction.kept_basis import (
    BASIS_FILE,
    basis_made_by,
    coefficients_made_by,
    find_basis,
    keep_basis,
)
from gsn.features.archive import Archive
from gsn.features.basis import Basis


def made_by(teacher="dino", dims=2, view="a", image="1"):
    return basis_made_by({"name": teacher}, dims, {"s": {view: image}})


def basis_of(maker):
    values = np.random.default_rng(len(str(maker))).standard_normal((2, 3))
    return Basis(values[0], values, np.ones(2), np.ones(2) / 2, 9, maker)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "features" / "dino"


def test_all_that_decides_a_basis_is_told():
    makers = [made_by(), made_by("clip"), made_by(dims=3), made_by(view="b"), made_by(image="2")]
    assert len({str(maker) for maker in makers}) == 5
    assert made_by() == made_by()


def test_another_basis_makes_other_coefficients():
    one, other = basis_of(made_by()), basis_of(made_by("another"))
    assert coefficients_made_by({"name": "x"}, one) != coefficients_made_by({"name": "x"}, other)
    assert coefficients_made_by({"name": "x"}, one)["features"] == {"name": "x"}


def test_a_basis_is_found_where_it_was_kept_and_no_other(out):
    archive = Archive(out)
    assert find_basis(out, archive, made_by()) is None
    keep_basis(out, archive, basis_of(made_by()))
    found = find_basis(out, archive, made_by())
    np.testing.assert_array_equal(found.components, basis_of(made_by()).components)
    assert find_basis(out, archive, made_by(dims=3)) is None


@pytest.mark.parametrize("successor", [None, made_by("another")])
def test_a_basis_that_gave_way_comes_back_from_the_archive(out, successor):
    archive = Archive(out)
    keep_basis(out, archive, basis_of(made_by()))
    before = (out / BASIS_FILE).read_bytes()
    keep_basis(out, archive, successor and basis_of(successor))
    assert (out / BASIS_FILE).exists() is (successor is not None)
    keep_basis(out, archive, find_basis(out, archive, made_by()))
    assert (out / BASIS_FILE).read_bytes() == before
    assert not archive.place(made_by(), BASIS_FILE).exists()


def test_a_basis_that_stays_is_not_touched(out):
    keep_basis(out, Archive(out), basis_of(made_by()))
    before = (out / BASIS_FILE).stat()
    keep_basis(out, Archive(out), basis_of(made_by()))
    assert (out / BASIS_FILE).stat() == before


def test_a_damaged_basis_is_told_and_not_used(out, caplog):
    keep_basis(out, Archive(out), basis_of(made_by()))
    (out / BASIS_FILE).write_bytes(b"half a basis")
    assert find_basis(out, Archive(out), made_by()) is None
    assert "basis.npz: damaged, cut short" in caplog.text
    keep_basis(out, Archive(out), None)
    assert not (out / BASIS_FILE).exists()
