import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from gsn.features.basis import BasisError
from gsn.features.pca import PcaFit


def fit(vectors, dims, n_batches=7, device="cpu"):
    pca = PcaFit(vectors.shape[1], torch.device(device))
    for batch in np.array_split(vectors, n_batches):
        pca.add(batch)
    return pca.solve(dims, {"of": "test"})


@pytest.fixture(scope="module")
def vectors():
    """Correlated, with spread-out variances, far from the origin."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((12, 12)) * np.geomspace(3, 0.1, 12)[:, None]
    return rng.standard_normal((500, 12)) @ mixing + rng.uniform(-50, 50, 12)


def test_the_streamed_fit_is_that_of_the_whole_matrix(vectors):
    got = fit(vectors, 5)
    expected = PCA(n_components=5, svd_solver="full").fit(vectors)
    signs = np.sign((got.components * expected.components_).sum(axis=1))
    np.testing.assert_allclose(got.mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(got.components, signs[:, None] * expected.components_, atol=1e-10)
    np.testing.assert_allclose(got.explained_variance, expected.explained_variance_, rtol=1e-10)
    np.testing.assert_allclose(
        got.explained_variance_ratio, expected.explained_variance_ratio_, rtol=1e-10
    )
    np.testing.assert_allclose(got.project(vectors), signs * expected.transform(vectors), atol=1e-8)
    assert got.n_samples == 500


def test_a_hand_made_case():
    # Along (3, 4) / 5 the values are −10, 0, 10; across it −1, 0, 1. The mean is (7, −2).
    along, across = np.array([3, 4]) / 5, np.array([-4, 3]) / 5
    vectors = np.array([7, -2]) + np.array(
        [10 * along, -10 * along, across, -across, 0 * across], dtype=np.float64
    )
    basis = fit(vectors, 2, n_batches=2)
    np.testing.assert_allclose(basis.mean, [7, -2])
    np.testing.assert_allclose(basis.components, [[0.6, 0.8], [0.8, -0.6]])
    np.testing.assert_allclose(basis.explained_variance, [200 / 4, 2 / 4])
    np.testing.assert_allclose(basis.project(np.array([[10.0, 2.0]])), [[5, 0]], atol=1e-12)


@pytest.mark.parametrize("n_batches", [1, 3, 499])
def test_neither_order_nor_batches_change_the_basis(vectors, n_batches):
    shuffled = np.random.default_rng(n_batches).permutation(vectors)
    one, other = fit(vectors, 6), fit(shuffled, 6, n_batches)
    np.testing.assert_allclose(one.components, other.components, atol=1e-10)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-10)
    np.testing.assert_allclose(one.explained_variance, other.explained_variance, rtol=1e-10)


def test_the_largest_entry_of_each_direction_is_positive(vectors):
    for basis in (fit(vectors, 12), fit(-vectors, 12)):
        largest = np.abs(basis.components).argmax(axis=1)
        assert (basis.components[np.arange(12), largest] > 0).all()
    np.testing.assert_allclose(fit(vectors, 12).components, fit(-vectors, 12).components, atol=1e-9)


def test_maps_are_taken_as_their_cells(vectors):
    pca = PcaFit(12)
    for start in (0, 250):
        pca.add(vectors[start : start + 250].reshape(10, 25, 12))
    basis = pca.solve(4, {})
    np.testing.assert_allclose(basis.components, fit(vectors, 4).components, atol=1e-10)
    maps = vectors[:6].reshape(2, 3, 12)
    np.testing.assert_allclose(
        basis.project(maps).reshape(6, 4), basis.project(vectors[:6]), atol=1e-10
    )


def test_half_precision_maps_are_summed_in_float64():
    # 2000 + {0, 2}: exact in float16, but their squares are beyond it.
    vectors = np.full((1000, 1), 2000, dtype=np.float16)
    vectors[::2] += np.float16(2)
    basis = fit(vectors, 1)
    np.testing.assert_allclose(basis.mean, [2001])
    np.testing.assert_allclose(basis.explained_variance, [1000 / 999])


def test_the_fit_holds_a_matrix_whatever_the_number_of_vectors():
    pca = PcaFit(12)
    sizes = set()
    for _ in range(3):
        pca.add(np.random.default_rng(0).standard_normal((100, 12)))
        tensors = [value for value in vars(pca).values() if isinstance(value, torch.Tensor)]
        sizes.add(sum(tensor.nbytes for tensor in tensors))
    assert sizes == {(12 * 12 + 12) * 8}


def test_what_cannot_be_fitted_is_refused(vectors):
    with pytest.raises(BasisError, match="13 PCA dimensions asked for, features have 12 channels"):
        fit(vectors, 13)
    with pytest.raises(BasisError, match="5 PCA dimensions asked for, fitted on 4 vectors"):
        fit(vectors[:4], 5)
    for bad in (np.nan, np.inf):
        broken = vectors.copy()
        broken[3, 3] = bad
        with pytest.raises(BasisError, match="NaN or infinity"):
            fit(broken, 3)
    with pytest.raises(ValueError, match=r"expected shape \(N 12\), got \(5, 11\)"):
        PcaFit(12).add(vectors[:5, :11])


def test_constant_features_give_a_basis_without_variance():
    basis = fit(np.ones((9, 4)), 2)
    np.testing.assert_array_equal(basis.explained_variance, 0)
    np.testing.assert_array_equal(basis.explained_variance_ratio, 0)


def test_tensors_of_every_float_type_are_taken_as_arrays_are(vectors):
    halves = vectors.astype(np.float16)
    expected = fit(halves.astype(np.float64), 4, n_batches=1)
    read_only = halves.copy()
    read_only.flags.writeable = False
    for same in (halves, read_only, halves[:, ::-1][:, ::-1], torch.from_numpy(halves).float()):
        pca = PcaFit(12)
        pca.add(same)
        assert pca.solve(4, {}).sha256 == expected.sha256
    pca = PcaFit(12)
    pca.add(torch.from_numpy(vectors).bfloat16())
    np.testing.assert_allclose(pca.solve(4, {}).mean, expected.mean, rtol=1e-2)


def test_what_is_taken_in_is_not_changed(vectors):
    before = vectors.copy()
    fit(vectors, 4, n_batches=1)
    pca = PcaFit(12)
    pca.add(torch.from_numpy(vectors))
    np.testing.assert_array_equal(vectors, before)


def test_a_basis_shares_no_memory_with_the_fit(vectors):
    pca = PcaFit(12)
    pca.add(vectors[:250])
    basis = pca.solve(12, {})
    before = basis.sha256
    pca.add(vectors[250:])
    assert basis.sha256 == before


def test_a_fit_has_the_same_bits_whatever_the_number_of_threads(vectors):
    wide = np.random.default_rng(2).standard_normal((4000, 96)).astype(np.float16)
    n_threads = torch.get_num_threads()
    hashes = set()
    try:
        for threads in (1, 2, 1, 2):
            torch.set_num_threads(threads)
            hashes.add(fit(wide, 8, n_batches=3).sha256)
    finally:
        torch.set_num_threads(n_threads)
    assert len(hashes) == 1


@pytest.mark.gpu
def test_a_gpu_fits_the_same_basis(vectors):
    expected = fit(vectors, 5)
    got = fit(vectors, 5, device="cuda")
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(got.components, expected.components, atol=1e-9)
    np.testing.assert_allclose(got.explained_variance, expected.explained_variance, rtol=1e-9)
    assert fit(vectors, 5, device="cuda").sha256 == got.sha256


@pytest.mark.gpu
def test_a_gpu_tells_of_nan_when_solved(vectors):
    pca = PcaFit(12, torch.device("cuda"))
    pca.add(np.full((3, 12), np.nan))
    pca.add(vectors)
    with pytest.raises(BasisError, match="NaN or infinity"):
        pca.solve(3, {})
