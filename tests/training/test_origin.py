from dataclasses import replace

import pytest

from gsn.training import losses
from gsn.training.origin import Origin


@pytest.fixture
def packs(tmp_path, write_photographs):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in paths:
        write_photographs(path, [f"{path.stem}2", f"{path.stem}1"])
    return paths


def test_the_number_of_steps_does_not_count_so_that_a_run_can_be_prolonged(make_training, packs):
    short, long = (Origin.describe(make_training(max_steps=n), packs, {}) for n in (6, 60))
    assert short.fingerprint == long.fingerprint


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch": {"rays": 13}}, {"log_every": 2}])
def test_any_other_setting_makes_another_run(make_training, packs, change):
    one = Origin.describe(make_training(), packs, {})
    assert Origin.describe(make_training(**change), packs, {}).fingerprint != one.fingerprint


def test_data_and_start_make_another_run(make_training, packs, write_photographs):
    training = make_training()
    found = [
        Origin.describe(training, packs, {}).fingerprint,
        Origin.describe(training, packs[:1], {}).fingerprint,
        Origin.describe(training, packs, {"model": "x"}).fingerprint,
        Origin.describe(training, packs, {"model": "y"}).fingerprint,
    ]
    write_photographs(packs[1], ["b3"])
    found.append(Origin.describe(training, packs, {}).fingerprint)
    assert len(set(found)) == 5


def test_the_order_of_scenes_makes_another_run_since_they_are_drawn_by_number(make_training, packs):
    one, other = (Origin.describe(make_training(), p, {}) for p in (packs, packs[::-1]))
    assert one.fingerprint != other.fingerprint


def test_where_the_packs_lie_does_not_count(make_training, packs, tmp_path):
    one = Origin.describe(make_training(), packs, {})
    (tmp_path / "moved").mkdir()
    moved = [path.replace(tmp_path / "moved" / path.name) for path in packs]
    assert Origin.describe(make_training(), moved, {}).fingerprint == one.fingerprint


def test_edited_code_makes_another_run(make_training, packs, tmp_path, monkeypatch):
    import gsn.training

    one = Origin.describe(make_training(), packs, {})
    copy = tmp_path / "training"
    copy.mkdir()
    (copy / "__init__.py").write_text("")
    (copy / "losses.py").write_text("edited = True")
    monkeypatch.setattr(gsn.training, "__file__", str(copy / "__init__.py"))
    assert Origin.describe(make_training(), packs, {}).fingerprint != one.fingerprint
    assert losses.__file__ != str(copy / "losses.py")


def test_what_the_initial_weights_have_seen_is_kept_but_names_no_other_run(make_training, packs):
    plain = Origin.describe(make_training(), packs, {})
    told = Origin.describe(make_training(), packs, {}, {"basis.npz": "b"}, ["attic"])
    assert (told.basis_sha256, told.earlier_scenes) == ({"basis.npz": "b"}, ["attic"])
    assert (plain.basis_sha256, plain.earlier_scenes) == ({}, [])
    assert replace(told, basis_sha256={}, earlier_scenes=[]) == plain


def test_photographs_of_all_scenes_seen_so_far_are_remembered(make_training, packs):
    first = Origin.describe(make_training(), packs[:1], {})
    assert first.photographs == {"a": ["a1", "a2"]}
    second = Origin.describe(make_training(), packs[1:], {}, earlier_photographs=first.photographs)
    assert second.photographs == {"a": ["a1", "a2"], "b": ["b1", "b2"]}
