"""The table of `check`, and that one damaged capture does not stop it."""

import logging
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gsn.captures.__main__ import app
from gsn.captures.capture import CaptureError
from gsn.captures.check.check_capture import AS_CHECKED, check_capture, find_captures, read_capture
from gsn.captures.check.table import HEADINGS, table


def run(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments), "--threads", "1"])


def rows_of(result):
    """Line of each capture by its name; columns are parted by two blanks or more."""
    heading, *lines = result.stdout.splitlines()
    assert tuple(re.split(r"  +", heading)) == HEADINGS
    return {re.split(r"  +", line)[0]: line for line in lines}


def names(paths):
    return [path.name for path in paths]


def test_a_sound_capture_has_its_numbers_in_a_row(rendered):
    result = run(rendered)
    assert result.exit_code == 0, result.stderr
    row = rows_of(result)["tabletop"].split()
    focal = np.load(rendered / "poses_bounds.npy")[0, 14]
    field = np.degrees(2 * np.arctan(128 / focal))
    assert row[1:6] == ["llff", "8", "256×192", f"{focal:.0f}", f"{field:.0f}°"]
    assert row[6:9] == ["1.33", "to", row[8]]
    assert row[10] == "yes"
    assert float(row[12]) < 0.15
    assert row[13:] == ["8", "ok"]
    assert "captures: 1, image files: 8, threads: 1: about" in result.stderr


def test_depth_range_and_baseline_are_those_of_the_file(rendered):
    rows = np.load(rendered / "poses_bounds.npy")
    centres = rows[:, :15].reshape(-1, 3, 5)[:, :, 3]
    near, far = rows[:, 15].min(), rows[:, 16].max()
    steps = [
        min(np.linalg.norm(a - b) for j, b in enumerate(centres) if i != j)
        for i, a in enumerate(centres)
    ]
    measures = check_capture(rendered, 1).measures
    assert measures.near == pytest.approx(4 / 3)
    assert measures.far == pytest.approx(far / near * 4 / 3)
    assert measures.baseline == pytest.approx(np.median(steps) / near)


def test_large_photographs_are_looked_at_smaller_and_their_size_is_told(rendered, monkeypatch):
    monkeypatch.setattr(
        "gsn.captures.check.check_capture.AS_CHECKED", replace(AS_CHECKED, long_side_px=200)
    )
    report = check_capture(rendered, 1)
    assert (report.measures.size, report.stored_size) == ((150, 200), (192, 256))
    assert "200×150 of 256×192" in table([report])[1]


def test_damaged_captures_do_not_stop_the_table(copy):
    sound, cut, poor, short, empty = (copy(n) for n in ("sound", "cut", "poor", "short", "empty"))
    photograph = cut / "images" / "view_003.png"
    photograph.write_bytes(photograph.read_bytes()[:-50])
    (cut / "images" / "view_005.png").write_bytes(b"")
    (poor / "poses_bounds.npy").write_bytes(b"no array")
    (short / "images" / "view_007.png").unlink()
    shutil.rmtree(empty / "images")
    result = run(sound.parent)
    assert result.exit_code == 1
    rows = rows_of(result)
    assert list(rows) == ["cut", "empty", "poor", "short", "sound"]
    assert "8, 2 unreadable: images/view_003.png, images/view_005.png" in rows["cut"]
    assert "unusable: images/view_003.png: the PNG file is cut off" in rows["cut"]
    assert "unusable: found no photographs" in rows["empty"]
    assert "unusable: poses_bounds.npy: " in rows["poor"]
    assert "7 photographs" in rows["short"]
    assert rows["sound"].endswith(" ok")


def test_a_capture_without_cameras_has_a_row_and_other_folders_a_line(copy):
    folder = copy("a")
    (copy("b") / "poses_bounds.npy").unlink()
    (folder.parent / "notes").mkdir()
    (folder.parent / ".hidden").mkdir()
    (folder.parent / "README.md").write_text("no folder")
    result = run(folder.parent)
    assert result.exit_code == 1
    assert list(rows_of(result)) == ["a", "b"]
    assert "expected the cameras of a capture" in rows_of(result)["b"]
    assert "neither photographs nor cameras in: notes" in result.stderr


def test_names_with_line_ends_and_unicode_keep_the_table_whole(copy):
    copy("two\nlines"), copy("ünï cödé"), copy("-rf")
    result = run(copy("a").parent)
    assert result.exit_code == 0, result.stdout
    assert list(rows_of(result)) == ["-rf", "a", "two\\nlines", "ünï cödé"]


def test_a_capture_is_named_after_its_folder_wherever_one_stands(rendered, monkeypatch):
    monkeypatch.chdir(rendered / "images")
    assert list(rows_of(run(".."))) == ["tabletop"]
    monkeypatch.chdir(rendered)
    assert list(rows_of(run("."))) == ["tabletop"]


def test_links_that_lead_in_circles_are_no_captures(copy):
    folder = copy("a")
    (folder.parent / "up").symlink_to(folder.parent)
    (folder.parent / "self").symlink_to(folder.parent / "self")
    (folder / "images" / "loop").symlink_to(folder)
    found = find_captures(folder.parent)
    assert (names(found.captures), names(found.others)) == (["a"], ["up"])
    assert check_capture(folder, 1).n_photographs == 8


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such folder, expected a capture or a folder of captures"),
        (lambda path: path.write_text(""), "is a file, expected a capture"),
        (lambda path: path.mkdir(), "no capture in it or in the 0 folders in it"),
        (lambda path: (path / "a").mkdir(parents=True), "in the 1 folders in it"),
        (lambda path: path.symlink_to(path), "no such folder"),
    ],
)
def test_a_wrong_folder_is_told_in_one_line(tmp_path, make, reason):
    path = tmp_path / "given"
    make(path)
    result = run(path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert isinstance(result.exception, SystemExit)


def test_a_folder_that_must_not_be_read_is_a_row_beside_the_others(copy):
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind the superuser")
    locked = copy("locked")
    copy("open")
    locked.chmod(0)
    try:
        rows = rows_of(run(locked.parent))
    finally:
        locked.chmod(0o755)
    assert "Permission denied" in rows["locked"]
    assert rows["open"].endswith(" ok")


@pytest.mark.parametrize("look", ["is_dir", "is_file", "stat"])
def test_a_folder_that_cannot_be_looked_into_is_a_row_too(copy, monkeypatch, look):
    folder = copy("locked")
    true = getattr(Path, look)

    def refuse(path, *args, **kwargs):
        if path.is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return true(path, *args, **kwargs)

    copy("open")
    monkeypatch.setattr(Path, look, refuse)
    rows = rows_of(run(folder.parent))
    assert "unusable" in rows["locked"]
    assert "Permission denied" in rows["locked"]
    assert rows["open"].endswith(" ok")


def test_an_error_of_the_disk_is_a_row_too(rendered, monkeypatch):
    def fail(folder, cfg):
        raise PermissionError(13, "Permission denied", str(folder / "images"))

    monkeypatch.setattr("gsn.captures.check.check_capture.read_capture", fail)
    result = run(rendered)
    assert result.exit_code == 1
    assert "unusable: [Errno 13] Permission denied" in rows_of(result)["tabletop"]


def test_what_a_reader_warns_of_stands_in_the_row(rendered, monkeypatch):
    def warn(folder, cfg):
        logging.getLogger("gsn.captures.readers.photo_files").warning(
            "%s: 2 left out", folder / "images"
        )
        return read_capture(folder, cfg)

    monkeypatch.setattr("gsn.captures.check.check_capture.read_capture", warn)
    result = run(rendered)
    assert rows_of(result)["tabletop"].endswith("ok: images: 2 left out")
    assert "2 left out" not in result.stderr


def test_nothing_but_captures_is_looked_for(tmp_path):
    (tmp_path / "a" / "b" / "images").mkdir(parents=True)
    with pytest.raises(CaptureError, match="no capture in it"):
        find_captures(tmp_path)


# Rows of the table in README.md there: how far each geometry can be trusted.
@pytest.mark.parametrize(("scene", "epi"), [("et_toy", 0.21), ("kermit", 0.21), ("sceaux", 0.11)])
def test_photographs_agree_with_their_cameras_as_was_measured_elsewhere(
    captures_folder, scene, epi
):
    report = check_capture(captures_folder / scene, 2)
    assert (report.verdict.name, report.findings) == ("OK", ())
    assert 0.5 * epi < report.measures.agreement.error_px < 1.5 * epi
    assert not report.measures.forward_facing


def test_one_model_in_two_formats_is_judged_alike(captures_folder):
    llff, colmap = (check_capture(captures_folder / n, 2) for n in ("kermit", "kermit_colmap"))
    assert (llff.format, colmap.format) == ("llff", "colmap")
    assert colmap.verdict.name == "OK"
    errors = [r.measures.agreement.error_px / max(r.measures.size) for r in (llff, colmap)]
    assert errors[0] == pytest.approx(errors[1], rel=0.35)
    for number in ("far", "baseline", "field_of_view_deg", "spread_deg"):
        here, there = getattr(llff.measures, number), getattr(colmap.measures, number)
        assert here == pytest.approx(there, rel=0.03), number
