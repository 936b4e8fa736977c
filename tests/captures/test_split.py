from types import SimpleNamespace

import numpy as np
import pytest

from gsn.captures.capture import CaptureError
from gsn.captures.split import hold_out


def views(count):
    return SimpleNamespace(view_names=tuple(f"v{k}" for k in range(count)), source="scene")


def test_every_hold_th_view_is_held_out_from_the_first():
    assert np.flatnonzero(hold_out(views(20), 8)).tolist() == [0, 8, 16]


@pytest.mark.parametrize(("n_views", "hold"), [(20, 1), (3, 2)])
def test_too_few_training_views_are_refused(n_views, hold):
    with pytest.raises(CaptureError, match=rf"scene: hold {hold} leaves [01] of {n_views} views"):
        hold_out(views(n_views), hold)
