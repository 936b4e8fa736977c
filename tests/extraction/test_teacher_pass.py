import threading
from contextlib import closing

import numpy as np
import pytest
import torch

from gsn.captures.survey import View, survey_packs
from gsn.extraction.teacher_pass import features_of

CPU = torch.device("cpu")


def test_every_view_comes_once_with_its_features_in_order_of_size(make_pack, teacher, by_hand):
    packs = [make_pack("s", "ab", size=(12, 8)), make_pack("t", "cd", size=(8, 12))]
    s, t = survey_packs([path for path, _ in packs])
    views = [View(s, 1), View(t, 0), View(s, 0), View(t, 1)]
    with closing(features_of(views, teacher, CPU)) as features:
        got = [(view, maps[k]) for batch, maps in features for k, view in enumerate(batch)]
    assert [view for view, _ in got] == [View(t, 0), View(t, 1), View(s, 1), View(s, 0)]
    images = {"s": packs[0][1], "t": packs[1][1]}
    for view, values in got:
        expected = by_hand(images[view.pack.scene][view.number])
        np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)
    assert teacher.batches == [(1, 8, 12, 3)] * 2 + [(1, 12, 8, 3)] * 2


def test_a_pass_left_early_ends_its_thread(make_pack, teacher):
    (survey,) = survey_packs([make_pack("s", "abcdefgh")[0]])
    before = threading.active_count()
    features = features_of([View(survey, k) for k in range(8)], teacher, CPU)
    next(features)
    features.close()
    assert threading.active_count() == before
    assert len(teacher.batches) == 1


def test_a_missing_pack_surfaces_in_the_pass(make_pack, teacher):
    path, _ = make_pack("s", "ab")
    (survey,) = survey_packs([path])
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"s\.h5"):
        list(features_of([View(survey, 0)], teacher, CPU))
