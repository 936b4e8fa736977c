import numpy as np
import pytest
import torch

from gsn.captures.survey import survey_packs
from gsn.extraction.fit_basis import BasisPlan, fit_basis
from gsn.features.basis import BasisError

CPU = torch.device("cpu")


def test_it_is_fitted_on_views_of_the_given_scenes_that_are_not_held_out(
    make_pack, teacher, by_hand
):
    packs = [make_pack("s", "abc", held_out="b"), make_pack("t", "de")]
    surveys = survey_packs([path for path, _ in packs])
    plan = BasisPlan.of(surveys, teacher, 2, ["s"])
    assert [(view.pack.scene, view.number) for view in plan.views] == [("s", 0), ("s", 2)]
    seen = []
    basis = fit_basis(plan, teacher, CPU, seen.append)
    assert (seen, basis.made_by) == ([1, 1], plan.made_by)
    vectors = np.concatenate([by_hand(packs[0][1][k]).reshape(-1, 6) for k in (0, 2)])
    _, _, directions = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(basis.mean, vectors.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.abs(basis.components), np.abs(directions[:2]), atol=1e-4)


def test_photographs_teacher_and_dimensions_decide_it(make_pack, teacher, make_teacher):
    surveys = survey_packs([make_pack("s", "abc")[0], make_pack("t", "de")[0]])
    retaken = [survey_packs([make_pack("s", "abc", seed=1)[0]])[0], surveys[1]]
    plans = [
        BasisPlan.of(surveys, teacher, 2, ["s"]),
        BasisPlan.of(retaken, teacher, 2, ["s"]),
        BasisPlan.of(surveys, teacher, 3, ["s"]),
        BasisPlan.of(surveys, teacher, 2, ["s", "t"]),
        BasisPlan.of(surveys, make_teacher(scale=2.0), 2, ["s"]),
    ]
    assert len({str(plan.made_by) for plan in plans}) == len(plans)
    assert BasisPlan.of(surveys[:1], teacher, 2, ["s"]).made_by == plans[0].made_by


def test_more_dimensions_than_channels_or_no_views_are_refused(make_pack, teacher):
    surveys = survey_packs([make_pack("s", "ab", held_out="ab")[0]])
    with pytest.raises(BasisError, match="7 PCA dimensions asked for, but fake has 6 channels"):
        BasisPlan.of(surveys, teacher, 7, ["s"])
    plan = BasisPlan.of(surveys, teacher, 2, ["s"])
    with pytest.raises(BasisError, match="basis of fake on 0 views that are not held out: 2 PCA"):
        fit_basis(plan, teacher, CPU, print)
