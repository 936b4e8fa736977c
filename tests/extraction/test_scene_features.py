import numpy as np
import pytest
import torch

from gsn.captures.survey import survey_packs
from gsn.extraction.fit_basis import BasisPlan, fit_basis
from gsn.extraction.kept_basis import BASIS_FILE
from gsn.extraction.make_maps import make_maps, plan_updates
from gsn.extraction.scene_features import from_teacher, open_features
from gsn.features.pca import PcaFit
from gsn.features.store import StoreError

CPU = torch.device("cpu")


def write_features(packs, out, teacher, basis=None):
    surveys = survey_packs(packs)
    updates = plan_updates(surveys, out, teacher, basis)
    make_maps(surveys, updates, teacher, basis, CPU, lambda n: None)


@pytest.fixture
def world(make_pack, teacher, tmp_path):
    """Packs of two scenes and their features."""
    packs = [make_pack("s", "abcd", held_out="a")[0], make_pack("t", "ab", held_out="b")[0]]
    write_features(packs, tmp_path / "features", teacher)
    return packs, tmp_path / "features"


def test_features_of_the_packs_are_opened_with_the_views_that_a_basis_may_see(world):
    scenes = open_features(*world)
    assert [(scene.name, scene.fit_views) for scene in scenes] == [("s", [1, 2, 3]), ("t", [0])]
    assert [len(scene.maps) for scene in scenes] == [4, 2]


def test_a_pack_without_features_is_named(world, make_pack):
    packs, features = world
    with pytest.raises(FileNotFoundError, match=r"v\.zarr.*v\.h5 is prepared"):
        open_features([*packs, make_pack("v", "ab")[0]], features)


def test_features_of_other_views_are_named(world, make_pack):
    make_pack("s", "bcde")
    message = r"s\.zarr.*without a map \['e'\], without a photograph \['a'\]"
    with pytest.raises(StoreError, match=message):
        open_features(*world)


def test_features_of_an_older_photograph_are_refused(world, make_pack):
    make_pack("t", "ab", seed=1)
    with pytest.raises(StoreError, match=r"t\.zarr: view 'a' was made of another photograph"):
        open_features(*world)


def test_features_of_two_teachers_are_not_mixed(world, make_teacher):
    packs, features = world
    write_features(packs[1:], features, make_teacher(scale=0.5))
    with pytest.raises(StoreError, match=r"t\.zarr and .*s\.zarr are of different teachers"):
        open_features(packs, features)


def test_a_basis_of_coefficients_begins_at_the_channels_of_the_teacher(
    world, teacher, by_hand, make_pack, tmp_path
):
    packs, raw = world
    inner = fit_basis(
        BasisPlan.of(survey_packs(packs), teacher, 4, ["s", "t"]), teacher, CPU, lambda n: None
    )
    kept = tmp_path / "kept"
    write_features(packs, kept, teacher, inner)
    inner.save(kept / BASIS_FILE)
    scene = open_features(packs, kept)[0]
    pca = PcaFit(4)
    for view in range(4):
        pca.add(scene.maps.read(view))
    outer = pca.solve(2, {})
    whole = from_teacher(outer, kept, scene)
    _, images = make_pack("s", "abcd", held_out="a")
    for view in range(4):
        expected = outer.project(inner.project(by_hand(images[view])))
        np.testing.assert_allclose(whole.project(by_hand(images[view])), expected, atol=1e-9)
    assert from_teacher(outer, raw, open_features(packs, raw)[0]) is outer

    outer.save(kept / BASIS_FILE)
    with pytest.raises(StoreError, match=r"s\.zarr: made with the basis"):
        from_teacher(outer, kept, scene)
