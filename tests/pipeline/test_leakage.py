import pytest

from pipeline.leakage import check_no_leakage


@pytest.fixture
def prepared(tmp_path, write_photographs):
    write_photographs(tmp_path / "fern.h5", ["f1", "f2"])
    write_photographs(tmp_path / "horns.h5", ["h1", "h2", "h3"])
    write_photographs(tmp_path / "trex.h5", ["t1"])
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


def test_a_capture_under_a_second_name_stops_the_run(prepared, write_photographs):
    write_photographs(prepared / "copy.h5", ["new", "h3", "h2"])
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
