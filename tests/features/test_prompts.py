import numpy as np
import pytest

from gsn.features.basis import Basis
from gsn.features.pca import PcaFit
from gsn.features.prompts import (
    PROMPTS_FILE,
    SPHERE,
    Prompts,
    PromptsError,
    TextQuery,
    load_prompts,
    load_text_query,
    typical_length,
)

TEXTS = ("a cup", "a jar", "the red striped sphere")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def make_prompts(vectors, texts=None):
    texts = texts or tuple(f"text {k}" for k in range(len(vectors)))
    return Prompts(texts, unit(vectors).astype(np.float32), {"name": "clip"})


@pytest.fixture
def prompts():
    return make_prompts(np.random.default_rng(0).standard_normal((3, 8)), TEXTS)


def fitted(features, dims):
    pca = PcaFit(features.shape[1])
    pca.add(features)
    return pca.solve(dims, {})


def cosines_by_loop(features, vectors):
    return np.array(
        [[x @ t / np.linalg.norm(x) / np.linalg.norm(t) for t in vectors] for x in features]
    )


@pytest.fixture(scope="module")
def cone():
    """Features as CLIP has them: on the unit sphere, a strong common part, few meanings, noise."""
    rng = np.random.default_rng(1)
    channels, meanings = 256, 12
    common, *directions = np.linalg.qr(rng.standard_normal((channels, meanings + 1)))[0].T
    mixing = rng.dirichlet(np.full(meanings, 0.2), 4000)
    noise = 0.2 * unit(rng.standard_normal((4000, channels)))
    features = unit(1.5 * common + mixing @ np.array(directions) + noise)
    # A text is near its meaning and near what texts have in common, which is nothing of a feature;
    # and to a different degree near what features have in common.
    texts = rng.standard_normal(channels) / channels**0.5
    share = rng.uniform(0.1, 0.5, meanings)[:, None]
    vectors = unit(np.array(directions) + 0.5 * texts + share * common)
    return features, make_prompts(vectors), fitted(features, 64)


def test_cosines_before_and_after_the_basis_agree_to_two_hundredths(cone):
    features, prompts, basis = cone
    before = cosines_by_loop(features, prompts.vectors)
    after = TextQuery(basis, prompts).cosines(basis.project(features))
    assert np.abs(after - before).max() <= 0.02
    assert (after.argmax(axis=1) == before.argmax(axis=1)).mean() >= 0.99


def test_without_the_centre_they_do_not(cone):
    features, prompts, basis = cone
    before = cosines_by_loop(features, prompts.vectors)
    coefficients = basis.project(features)
    for wrong in (
        coefficients @ (prompts.vectors @ basis.components.T).T,  # W t alone
        unit(coefficients) @ unit(basis.project(prompts.vectors)).T,  # texts centred as features
    ):
        assert np.abs(wrong - before).max() > 0.02
        assert (wrong.argmax(axis=1) == before.argmax(axis=1)).mean() < 0.99


@pytest.mark.parametrize(
    ("length", "error", "agreement"), [(SPHERE, 0.02, 0.99), (None, 0.15, 0.93)]
)
def test_directions_alone_agree_to_a_stated_tolerance(cone, length, error, agreement):
    features, prompts, basis = cone
    before = cosines_by_loop(features, prompts.vectors)
    query = TextQuery(basis, prompts, length or typical_length(basis))
    after = query.cosines(unit(basis.project(features)))
    assert np.abs(after - before).max() <= error
    assert (after.argmax(axis=1) == before.argmax(axis=1)).mean() >= agreement
    np.testing.assert_allclose(after, query.cosines(7 * basis.project(features)), atol=1e-12)


def test_on_the_sphere_every_feature_has_the_typical_length(cone):
    features, prompts, basis = cone
    # The mean of squared lengths is that of what the basis keeps of the features.
    expected = (basis.invert(basis.project(features)) ** 2).sum(axis=1).mean()
    directions = unit(np.random.default_rng(5).standard_normal((9, 64)))
    cosines = TextQuery(basis, prompts, SPHERE).cosines(directions)
    for direction, found in zip(directions, cosines, strict=True):
        lengths = np.linspace(0, 3, 30001)
        squared = (basis.invert(lengths[:, None] * direction) ** 2).sum(axis=1)
        feature = basis.invert(lengths[np.abs(squared - expected).argmin()] * direction)
        np.testing.assert_allclose(
            found, cosines_by_loop(feature[None], prompts.vectors)[0], atol=1e-3
        )


def test_cosines_are_those_of_the_inverted_features(cone):
    _, prompts, basis = cone
    coefficients = np.random.default_rng(2).standard_normal((2, 5, 64)).astype(np.float32)
    inverted = basis.invert(coefficients).reshape(10, -1)
    expected = cosines_by_loop(inverted, prompts.vectors).reshape(2, 5, -1)
    found = TextQuery(basis, prompts).cosines(coefficients)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    longer = coefficients * (0.3 / np.linalg.norm(coefficients, axis=-1, keepdims=True))
    given = TextQuery(basis, prompts, 0.3).cosines(coefficients)
    np.testing.assert_allclose(given, TextQuery(basis, prompts).cosines(longer), atol=1e-6)


def test_a_hand_made_case():
    # Mean (3, 0), direction (0, 1): the coefficient 4 is the feature (3, 4) of length 5.
    basis = Basis(np.array([3.0, 0]), np.array([[0, 1.0]]), np.array([16.0]), np.ones(1), 9, {})
    prompts = make_prompts(np.eye(2))
    found = TextQuery(basis, prompts).cosines(np.array([[4.0], [0.0], [-4.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [1, 0], [0.6, -0.8]])
    assert typical_length(basis) == 4
    given = TextQuery(basis, prompts, typical_length(basis)).cosines(np.array([[0.1], [0.0]]))
    np.testing.assert_allclose(given, [[0.6, 0.8], [1, 0]])


def test_a_feature_of_no_length_is_near_no_text():
    basis = Basis(np.zeros(2), np.eye(2), np.ones(2), np.ones(2), 9, {})
    found = TextQuery(basis, make_prompts(np.eye(2))).cosines(np.zeros((1, 2)))
    np.testing.assert_array_equal(found, [[0, 0]])


def test_the_typical_length_is_that_of_the_fitted_coefficients(cone):
    features, _, basis = cone
    lengths = np.linalg.norm(basis.project(features), axis=1)
    assert typical_length(basis) == pytest.approx(np.sqrt((lengths**2).mean()), rel=1e-3)


def test_what_is_saved_is_read_again_and_equal_prompts_give_equal_bytes(prompts, tmp_path):
    prompts.save(tmp_path / "one.npz")
    again = Prompts.load(tmp_path / "one.npz")
    assert (again.texts, again.made_by, again.sha256) == (TEXTS, {"name": "clip"}, prompts.sha256)
    assert again.vectors.dtype == np.float32
    np.testing.assert_array_equal(again.vectors, prompts.vectors)
    again.save(tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


def test_texts_vectors_and_maker_make_the_hash(prompts):
    others = [
        prompts,
        Prompts(TEXTS[::-1], prompts.vectors, prompts.made_by),
        Prompts(TEXTS, prompts.vectors[::-1].copy(), prompts.made_by),
        Prompts(TEXTS, prompts.vectors, {"name": "siglip"}),
    ]
    assert len({other.sha256 for other in others}) == len(others)


def test_a_damaged_file_is_refused(prompts, tmp_path, seal_again):
    path = tmp_path / PROMPTS_FILE
    prompts.save(path)
    with np.load(path) as file:
        parts = {name: file[name] for name in file.files}
    np.savez(path, **(parts | {"vectors": prompts.vectors[::-1]}))
    seal_again(path)
    with pytest.raises(PromptsError, match=r"prompts\.npz: damaged: its values hash to"):
        Prompts.load(path)
    np.savez(path, **({name: part for name, part in parts.items() if name != "texts"}))
    seal_again(path)
    with pytest.raises(PromptsError, match="not a readable file of prompts"):
        Prompts.load(path)
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(PromptsError, match=r"prompts\.npz: damaged, cut short"):
        Prompts.load(path)


def test_prompts_that_are_no_prompts_are_refused(prompts):
    with pytest.raises(PromptsError, match="expected unit length"):
        Prompts(TEXTS, 2 * prompts.vectors, {})
    with pytest.raises(PromptsError, match="expected unit length"):
        Prompts(TEXTS, prompts.vectors * np.float32("nan"), {})
    with pytest.raises(PromptsError, match="expected different texts"):
        Prompts(("a cup", "a jar", "a cup"), prompts.vectors, {})
    with pytest.raises(PromptsError, match="expected float32, got float64"):
        Prompts(TEXTS, prompts.vectors.astype(np.float64), {})
    with pytest.raises(ValueError, match="vectors: expected shape"):
        Prompts(TEXTS[:2], prompts.vectors, {})


def test_a_folder_without_prompts_has_none(prompts, tmp_path):
    assert load_prompts(tmp_path) is None
    assert load_text_query(tmp_path, "basis.npz") is None
    prompts.save(tmp_path / PROMPTS_FILE)
    assert load_prompts(tmp_path).sha256 == prompts.sha256


def test_a_query_of_rendered_features_is_of_the_basis_beside_the_prompts(prompts, tmp_path):
    features = np.random.default_rng(3).standard_normal((50, 8)) + 4
    basis = fitted(features, 3)
    basis.save(tmp_path / "room.basis.npz")
    prompts.save(tmp_path / PROMPTS_FILE)
    query = load_text_query(tmp_path, "room.basis.npz")
    assert (query.texts, query.length) == (TEXTS, SPHERE)
    rendered = unit(basis.project(features))
    expected = TextQuery(basis, prompts, SPHERE).cosines(rendered)
    np.testing.assert_array_equal(query.cosines(rendered), expected)


def test_prompts_of_another_teacher_and_coefficients_of_another_basis_are_refused(prompts):
    rng = np.random.default_rng(4)
    with pytest.raises(PromptsError, match="prompts of 8 channels for a basis of 9"):
        TextQuery(fitted(rng.standard_normal((50, 9)), 3), prompts)
    query = TextQuery(fitted(rng.standard_normal((50, 8)), 3), prompts)
    with pytest.raises(ValueError, match="coefficients: expected shape"):
        query.cosines(np.zeros((5, 4)))
