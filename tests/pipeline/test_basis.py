from dataclasses import replace

import pytest

from gsn.model.checkpoint import Checkpoint
from pipeline.basis import check_basis

ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def checkpoint_with(make_config):
    def build(basis_sha256, channels=4):
        return Checkpoint(make_config(), {}, 1, ["a"], channels, basis_sha256)

    return build


@pytest.mark.parametrize(
    ("known", "basis"),
    [
        ({"basis.npz": ONE}, ("basis.npz", ONE)),
        ({"a.basis.npz": ONE, "b.basis.npz": OTHER}, ("b.basis.npz", OTHER)),
        # A scene the model never saw, with a basis of its own.
        ({"a.basis.npz": ONE}, ("c.basis.npz", OTHER)),
        ({"a.basis.npz": ONE}, None),
    ],
)
def test_targets_that_the_model_can_render_are_taken(make_scene, checkpoint_with, known, basis):
    check_basis(replace(make_scene(), basis=basis), checkpoint_with(known))


@pytest.mark.parametrize(
    ("known", "basis"),
    [
        ({"basis.npz": ONE}, ("basis.npz", OTHER)),
        ({"a.basis.npz": ONE}, ("a.basis.npz", OTHER)),
        ({"a.basis.npz": ONE}, ("basis.npz", ONE)),
        ({"basis.npz": ONE}, ("a.basis.npz", ONE)),
    ],
)
def test_targets_in_another_basis_are_refused(make_scene, checkpoint_with, known, basis):
    scene = replace(make_scene("attic"), basis=basis)
    with pytest.raises(ValueError, match=r"scene 'attic': targets in the basis .* `dvc repro dist"):
        check_basis(scene, checkpoint_with(known))


def test_an_imported_model_says_that_its_basis_is_unknown(make_scene, checkpoint_with):
    with pytest.raises(ValueError, match=r"basis .* is unknown"):
        check_basis(replace(make_scene(), basis=("basis.npz", ONE)), checkpoint_with({}))


def test_a_model_that_renders_no_features_takes_any_basis(make_scene, checkpoint_with):
    scene = replace(make_scene(), basis=("basis.npz", OTHER))
    check_basis(scene, checkpoint_with({}, channels=None))
