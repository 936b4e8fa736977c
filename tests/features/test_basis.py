from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.features.basis import Basis, BasisError, Projector
from gsn.features.pca import PcaFit

CPU = torch.device("cpu")


def fit(vectors, dims, made_by=None):
    pca = PcaFit(vectors.shape[1])
    pca.add(vectors)
    return pca.solve(dims, made_by or {"of": "test"})


@pytest.fixture(scope="module")
def vectors():
    """Correlated, with spread-out variances, far from the origin."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((12, 12)) * np.geomspace(3, 0.1, 12)[:, None]
    return rng.standard_normal((500, 12)) @ mixing + rng.uniform(-50, 50, 12)


def test_invert_undoes_project_in_the_basis(vectors):
    full = fit(vectors, 12)
    np.testing.assert_allclose(full.invert(full.project(vectors)), vectors, atol=1e-10)
    basis = fit(vectors, 4)
    coefficients = np.random.default_rng(1).standard_normal((3, 5, 4))
    np.testing.assert_allclose(basis.project(basis.invert(coefficients)), coefficients, atol=1e-10)
    rest = vectors - basis.invert(basis.project(vectors))
    np.testing.assert_allclose(rest @ basis.components.T, 0, atol=1e-9)


def test_wrong_numbers_of_channels_are_refused(vectors):
    basis = fit(vectors, 3)
    with pytest.raises(ValueError, match=r"expected shape \(_ 12\)"):
        basis.project(vectors[:, :3])
    with pytest.raises(ValueError, match=r"expected shape \(_ 12\)"):
        basis.projector(CPU)(vectors[:, :3])
    with pytest.raises(ValueError, match=r"expected shape \(_ 3\)"):
        basis.invert(vectors)


def test_a_projector_gives_the_rounded_coefficients(vectors):
    basis = fit(vectors, 4)
    maps = vectors[:24].reshape(2, 3, 4, 12).astype(np.float16)
    # One dot product at a time.
    expected = np.empty((2, 3, 4, 4))
    for place in np.ndindex(2, 3, 4):
        for d in range(4):
            shifted = [
                float(value) - mean for value, mean in zip(maps[place], basis.mean, strict=True)
            ]
            expected[(*place, d)] = sum(
                value * weight for value, weight in zip(shifted, basis.components[d], strict=True)
            )
    project = basis.projector(CPU)
    assert isinstance(project, Projector)
    for features in (maps, torch.from_numpy(maps), torch.from_numpy(maps).double()):
        got = project(features)
        assert got.dtype == torch.float16
        np.testing.assert_allclose(got.numpy(), expected, rtol=2**-11, atol=1e-6)
    np.testing.assert_array_equal(project.checked(maps), project(maps).numpy())
    np.testing.assert_array_equal(project.checked(maps), basis.project(maps).astype(np.float16))


def test_coefficients_beyond_float16_are_refused(vectors):
    basis = fit(vectors, 2)
    far = basis.invert(np.array([[70000.0, 0.0]]))
    with pytest.raises(BasisError, match="a coefficient is NaN or beyond the range of float16"):
        basis.projector(CPU).checked(far)
    near = basis.invert(np.array([[64992.0, 0.0]]))
    np.testing.assert_allclose(basis.projector(CPU).checked(near), [[64992, 0]], atol=1e-3)


def test_a_basis_after_another_projects_as_both_in_turn(vectors):
    inner = fit(vectors, 8)
    outer = fit(inner.project(vectors)[:300] + 5, 3, made_by={"of": "coefficients"})
    both = outer.after(inner)
    np.testing.assert_allclose(
        both.project(vectors), outer.project(inner.project(vectors)), atol=1e-9
    )
    coefficients = np.random.default_rng(1).standard_normal((7, 3))
    np.testing.assert_allclose(
        both.invert(coefficients), inner.invert(outer.invert(coefficients)), atol=1e-10
    )
    np.testing.assert_allclose(both.components @ both.components.T, np.eye(3), atol=1e-12)
    assert (both.n_samples, both.made_by) == (300, {"of": "coefficients"})


def test_a_basis_after_another_is_that_of_the_vectors_themselves(vectors):
    inner = fit(vectors, 8)
    both = fit(inner.project(vectors), 3).after(inner)
    direct = fit(vectors, 3)
    np.testing.assert_allclose(both.mean, direct.mean, atol=1e-9)
    span = both.components.T @ both.components
    np.testing.assert_allclose(span, direct.components.T @ direct.components, atol=1e-8)
    np.testing.assert_allclose(both.explained_variance, direct.explained_variance, rtol=1e-9)
    np.testing.assert_allclose(
        both.explained_variance_ratio, direct.explained_variance_ratio, rtol=1e-9
    )


def test_a_basis_does_not_follow_one_of_another_size(vectors):
    message = r"mean of the outer basis: expected shape \(8\), got \(12,\)"
    with pytest.raises(ValueError, match=message):
        fit(vectors, 3).after(fit(vectors, 8))


@pytest.mark.gpu
def test_a_gpu_projects_to_the_same_numbers(vectors):
    basis = fit(vectors, 4)
    maps = vectors[:24].reshape(4, 6, 12).astype(np.float16)
    got = basis.projector(torch.device("cuda")).checked(maps)
    np.testing.assert_allclose(got, basis.project(maps), rtol=2**-11, atol=1e-6)


def test_a_saved_basis_comes_back_and_has_equal_bytes(tmp_path, vectors):
    basis = fit(vectors, 3)
    basis.save(tmp_path / "one.npz")
    basis.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    got = Basis.load(tmp_path / "one.npz")
    for name in ("mean", "components", "explained_variance", "explained_variance_ratio"):
        np.testing.assert_array_equal(getattr(got, name), getattr(basis, name))
    assert (got.n_samples, got.made_by, got.sha256) == (500, {"of": "test"}, basis.sha256)


def test_the_hash_sees_mean_and_components(vectors):
    basis = fit(vectors, 3)
    mean, components = basis.mean.copy(), basis.components.copy()
    mean[0] = np.nextafter(mean[0], 1)
    components[0] = -components[0]
    hashes = {
        basis.sha256,
        replace(basis, mean=mean).sha256,
        replace(basis, components=components).sha256,
    }
    assert len(hashes) == 3


def test_a_changed_torn_or_foreign_file_is_refused(tmp_path, vectors, seal_again):
    path = tmp_path / "basis.npz"
    with pytest.raises(FileNotFoundError, match=r"basis\.npz: no such PCA basis"):
        Basis.load(path)
    fit(vectors, 3).save(path)
    with np.load(path) as file:
        content = dict(file)
    whole = path.read_bytes()
    np.savez(path, **(content | {"mean": content["mean"] + 1}))
    seal_again(path)
    with pytest.raises(BasisError, match=r"basis\.npz: damaged: its values hash to"):
        Basis.load(path)
    np.savez(path, **(content | {"mean": np.array([{}], dtype=object)}))
    seal_again(path)
    with pytest.raises(BasisError, match="not a readable PCA basis"):
        Basis.load(path)
    for torn in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(torn)
        with pytest.raises(BasisError, match=r"basis\.npz: damaged, cut short"):
            Basis.load(path)
