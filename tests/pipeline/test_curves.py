import csv
import importlib.util
import json
import logging
import shutil
import sys

import pytest

from pipeline.curves import Curves


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Outside of any repository, and without a word to anyone about being run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")


def points(folder, name):
    with (folder / "plots" / "metrics" / f"{name}.tsv").open() as file:
        return [
            (int(row["step"]), float(row[name])) for row in csv.DictReader(file, delimiter="\t")
        ]


def draw(folder, *rows):
    with Curves(folder) as curves:
        for step, row in rows:
            curves.add(step, row)


def test_each_value_is_a_curve_over_the_steps(tmp_path):
    pytest.importorskip("dvclive")
    folder = tmp_path / "reports" / "pretrain"
    draw(folder, (25, {"loss": 0.5, "psnr_db": 3.0}), (50, {"loss": 0.25, "psnr_db": 6.0}))
    assert points(folder, "loss") == [(25, 0.5), (50, 0.25)]
    assert points(folder, "psnr_db") == [(25, 3.0), (50, 6.0)]
    summary = json.loads((folder / "metrics.json").read_text())
    assert summary == {"step": 50, "loss": 0.25, "psnr_db": 6.0}


def test_a_resumed_run_leaves_no_point_twice_and_none_of_an_older_run(tmp_path):
    pytest.importorskip("dvclive")
    folder = tmp_path / "curves"
    draw(folder, (25, {"loss": 0.5}), (50, {"loss": 0.25}), (75, {"gone": 1.0}))
    draw(folder, (25, {"loss": 0.5}), (50, {"loss": 0.25}))
    assert points(folder, "loss") == [(25, 0.5), (50, 0.25)]
    assert not (folder / "plots" / "metrics" / "gone.tsv").exists()


def test_points_hold_no_time_so_that_equal_runs_give_equal_files(tmp_path):
    pytest.importorskip("dvclive")
    for name in ("a", "b"):
        draw(tmp_path / name, (1, {"loss": 0.5}))
    written = [(tmp_path / n / "plots/metrics/loss.tsv").read_bytes() for n in ("a", "b")]
    assert written[0] == written[1] == b"step\tloss\n1\t0.5\n"
    assert not list(tmp_path.glob("**/dvc.yaml"))


def test_points_before_a_failure_are_kept(tmp_path):
    pytest.importorskip("dvclive")
    with pytest.raises(KeyError), Curves(tmp_path / "curves") as curves:
        curves.add(1, {"loss": 0.5})
        raise KeyError
    assert points(tmp_path / "curves", "loss") == [(1, 0.5)]


def test_without_dvclive_nothing_is_written_and_that_is_said(tmp_path, monkeypatch, caplog):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "dvclive" else find(name)
    )
    monkeypatch.setitem(sys.modules, "dvclive", None)  # an import would fail
    with caplog.at_level(logging.WARNING):
        draw(tmp_path / "curves", (1, {"loss": 0.5}))
    assert not (tmp_path / "curves").exists()
    assert "dvclive is not installed" in caplog.text


def test_older_points_that_cannot_be_deleted_are_not_followed_by_new_ones(tmp_path, monkeypatch):
    pytest.importorskip("dvclive")
    folder = tmp_path / "reports" / "pretrain"
    draw(folder, (25, {"loss": 0.5}))

    def refuse(*_):
        raise PermissionError(13, "Permission denied", "loss.tsv")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermissionError, match=r"loss\.tsv"):
        draw(folder, (25, {"loss": 0.5}))
