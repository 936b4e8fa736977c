import numpy as np
import pytest

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from pipeline.leakage import check_no_leakage


def write(folder, name, photographs):
    """A pack of photographs that are told apart by their hashes alone."""
    n_views = len(photographs)
    capture = Capture(
        name=name,
        view_names=tuple(f"view_{i}" for i in range(n_views)),
        image_sha256=tuple(photographs),
        images=np.zeros((n_views, 4, 5, 3), np.uint8),
        intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
        cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
        near=1.0,
        far=2.0,
    )
    write_pack(folder / f"{name}.h5", capture, np.zeros(n_views, bool))


@pytest.fixture
def prepared(tmp_path):
    write(tmp_path, "fern", ["f1", "f2"])
    write(tmp_path, "horns", ["h1", "h2", "h3"])
    write(tmp_path, "trex", ["t1"])
    return tmp_path


def test_scenes_apart_pass(prepared):
    check_no_leakage(prepared, ["fern"], ["horns", "trex"])
    check_no_leakage(prepared, [], ["horns"])
    check_no_leakage(prepared, ["fern"], [])


def test_a_test_scene_that_was_learnt_from_stops_the_run(prepared):
    with pytest.raises(ValueError, match=r"leak: scenes\.test names fern, horns, which the model"):
        check_no_leakage(prepared, ["horns", "fern"], ["horns", "trex", "fern"])


def test_a_scene_need_not_be_there_to_leak(tmp_path):
    with pytest.raises(ValueError, match=r"scenes\.test names gone"):
        check_no_leakage(tmp_path, ["gone"], ["gone"])


def test_a_capture_under_a_second_name_stops_the_run(prepared):
    write(prepared, "copy", ["new", "h3", "h2"])
    with pytest.raises(ValueError, match=r"2 photographs of the test scene 'copy' are .* horns,"):
        check_no_leakage(prepared, ["fern", "copy"], ["trex", "horns"])


def test_a_checkpoint_remembers_photographs_whose_pack_is_gone(prepared):
    with pytest.raises(
        ValueError, match=r"1 photographs of the test scene 'fern' are .* forgotten"
    ):
        check_no_leakage(prepared, ["fern"], ["forgotten"], {"forgotten": ["x", "f2"]})
    check_no_leakage(prepared, ["fern"], ["forgotten"], {"forgotten": ["x", "y"]})


def test_learnt_scenes_whose_packs_are_gone_are_compared_by_name_alone(prepared):
    check_no_leakage(prepared, ["fern"], ["forgotten"])
