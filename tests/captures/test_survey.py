import hashlib

import numpy as np
import pytest

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.captures.survey import View, photographs, survey_packs


@pytest.fixture
def packs(tmp_path):
    """Two packs of noise, of 3 views of 4 × 5 and of 2 views of 6 × 5."""
    paths = []
    for scene, n_views, height in (("s", 3, 4), ("t", 2, 6)):
        rng = np.random.default_rng(n_views)
        capture = Capture(
            name=scene,
            view_names=tuple(f"{scene}{k}" for k in range(n_views)),
            image_sha256=("",) * n_views,
            images=rng.integers(0, 256, (n_views, height, 5, 3), dtype=np.uint8),
            intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
            cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
            near=1.0,
            far=2.0,
        )
        path = tmp_path / f"{scene}.h5"
        write_pack(path, capture, np.arange(n_views) == 1)
        paths.append((path, capture.images))
    return paths


def test_a_survey_says_what_the_packs_hold_in_their_order(packs):
    surveys = survey_packs([path for path, _ in packs])
    assert [survey.scene for survey in surveys] == ["s", "t"]
    assert surveys[0].view_names == ("s0", "s1", "s2")
    assert surveys[0].held_out == (False, True, False)
    assert [survey.image_size for survey in surveys] == [(4, 5), (6, 5)]
    for survey, (_, images) in zip(surveys, packs, strict=True):
        head = f"|u1 {images.shape[1:]} ".encode()
        by_hand = tuple(hashlib.sha256(head + image.tobytes()).hexdigest() for image in images)
        assert survey.image_sha256 == by_hand


def test_photographs_come_in_the_order_asked_for(packs):
    s, t = survey_packs([path for path, _ in packs])
    views = [View(t, 1), View(s, 2), View(s, 0), View(t, 0)]
    got = list(photographs(views))
    assert [view for view, _ in got] == views
    images = {"s": packs[0][1], "t": packs[1][1]}
    for view, image in got:
        np.testing.assert_array_equal(image, images[view.pack.scene][view.number])
    assert views[0].place == f"{packs[1][0]}: view 't1'"


def test_a_missing_pack_is_told(packs, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5: no such pack"):
        survey_packs([packs[0][0], tmp_path / "none.h5"])
