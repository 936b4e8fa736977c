from itertools import pairwise

import numpy as np
import pytest
import torch

from gsn.captures.survey import survey_packs
from gsn.extraction.fit_basis import BasisPlan, fit_basis
from gsn.extraction.make_maps import make_maps, plan_updates
from gsn.features.store import FeatureMaps
from gsn.features.update import store_path

CPU = torch.device("cpu")


def run(packs, out, teacher, basis=None):
    """Bring stores up to date; return the numbers of views that were told."""
    told = []
    surveys = survey_packs([path for path, _ in packs])
    make_maps(surveys, plan_updates(surveys, out, teacher, basis), teacher, basis, CPU, told.append)
    return told


def test_maps_are_the_features_and_every_written_view_is_told(
    make_pack, teacher, by_hand, tmp_path
):
    packs = [make_pack("s", "abc"), make_pack("t", "de", size=(9, 8))]
    assert run(packs, tmp_path / "out", teacher) == [1] * 5
    for scene, (_, images) in zip("st", packs, strict=True):
        maps = FeatureMaps(store_path(tmp_path / "out", scene))
        for k, image in enumerate(images):
            np.testing.assert_allclose(maps.read(k), by_hand(image), atol=1e-3)
    assert run(packs, tmp_path / "out", teacher) == []


def test_with_a_basis_maps_are_coefficients(make_pack, teacher, by_hand, tmp_path):
    packs = [make_pack("s", "ab")]
    surveys = survey_packs([packs[0][0]])
    basis = fit_basis(BasisPlan.of(surveys, teacher, 3, ["s"]), teacher, CPU, lambda n: None)
    run(packs, tmp_path / "out", teacher, basis)
    maps = FeatureMaps(store_path(tmp_path / "out", "s"))
    assert maps.header.made_by["features"] == teacher.fingerprint
    for k, image in enumerate(packs[0][1]):
        expected = (by_hand(image) - basis.mean) @ basis.components.T
        np.testing.assert_allclose(maps.read(k), expected, atol=1e-3)


def test_what_float16_cannot_hold_is_refused_by_the_name_of_the_view(
    make_pack, make_teacher, tmp_path
):
    packs = [make_pack("s", "ab")]
    with pytest.raises(ValueError, match=r"s\.h5: view 'a': fake gives NaN or a value beyond"):
        run(packs, tmp_path / "out", make_teacher(scale=1e6))
    assert not store_path(tmp_path / "out", "s").exists()


@pytest.mark.parametrize(("first", "second"), [*pairwise([None, 2, 3])])
def test_other_dimensions_leave_nothing_of_the_ones_before(
    make_pack, teacher, tmp_path, first, second
):
    packs = [make_pack("s", "abc")]
    surveys = survey_packs([packs[0][0]])

    def basis(dims):
        if dims is None:
            return None
        return fit_basis(BasisPlan.of(surveys, teacher, dims, ["s"]), teacher, CPU, lambda n: None)

    run(packs, tmp_path / "out", teacher, basis(first))
    assert run(packs, tmp_path / "out", teacher, basis(second)) == [1] * 3
    run(packs, tmp_path / "fresh", teacher, basis(second))
    out, fresh = (store_path(tmp_path / folder, "s") for folder in ("out", "fresh"))
    names = [f"c.{view}.0.0.0" for view in range(3)] + ["zarr.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert all((out / name).read_bytes() == (fresh / name).read_bytes() for name in names)
