import pytest

from gsn.captures.capture import CaptureError
from gsn.captures.readers.depth_range import DepthRange


@pytest.mark.parametrize(
    ("near", "far"),
    [(0.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0), (1e-12, 1.0), (1.0, 1e10)],
)
def test_depths_that_no_scene_has_are_refused(near, far):
    with pytest.raises(CaptureError, match=r"expected 0 < near < far, .* 1e\+09 times"):
        DepthRange(near, far)


def test_depths_of_any_scene_are_taken():
    assert DepthRange(1e-6, 100.0).far == 100.0
