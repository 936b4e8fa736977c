"""The section of the settings that `scan` makes, read back as the stages read it."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gsn.captures.__main__ import app
from gsn.captures.check.check_capture import SceneReport
from gsn.captures.check.scan import Split, section_text, select, split_scenes, write_section
from gsn.captures.check.verdict import Finding, Verdict
from pipeline.config import ScenesConfig, load_section

ROOT = Path(__file__).resolve().parents[3]
# Words that YAML 1.1 takes for other things than texts, and signs that it gives a meaning.
HARD_NAMES = (
    "no",
    "on",
    "null",
    "~",
    "12",
    "1e3",
    "1_000",
    "2020-01-01",
    "a: b",
    "[x",
    "#y",
    "é,ü",
)


def run(*arguments):
    return CliRunner().invoke(app, ["scan", *map(str, arguments), "--threads", "1"])


def report(name, verdict=Verdict.OK, text="why"):
    return SceneReport(
        Path("captures") / name, "llff", 8, None, (), None, (Finding(verdict, text),)
    )


def loaded(path):
    return load_section(path, "scenes", ScenesConfig)


@pytest.mark.parametrize(
    ("names", "every", "test", "expected"),
    [
        ("abcdefghijklmnopqr", 8, (), "hp"),
        ("abc", 8, (), "c"),
        ("a", 8, (), ""),
        ("abcdef", 2, (), "bdf"),
        ("abcdef", 0, (), ""),
        ("abcdef", 8, ("f", "a"), "af"),
    ],
)
def test_every_nth_capture_or_those_named_are_for_the_test(names, every, test, expected):
    split = split_scenes(names, every, test)
    assert "".join(split.test) == expected
    assert "".join(split.train) == "".join(name for name in names if name not in expected)


@pytest.mark.parametrize(
    ("names", "every", "test", "reason"),
    [
        ("", 8, (), "no capture can be used"),
        ("ab", 1, (), "every 1: expected 0 or at least 2"),
        ("ab", -2, (), "every -2"),
        ("ab", 8, ("c",), r"for the test: \['c'\], expected names of: a, b"),
        ("ab", 8, ("a", "b"), "leave at least one to learn from"),
    ],
)
def test_a_split_that_leaves_nothing_or_names_no_capture_is_refused(names, every, test, reason):
    with pytest.raises(ValueError, match=reason):
        split_scenes(names, every, test)


def test_unusable_captures_and_names_that_no_scene_can_have_are_left_out_with_a_reason():
    found = select(
        [
            report("good"),
            report("doubtful", Verdict.DOUBTFUL),
            report("bad", Verdict.UNUSABLE, "cut off"),
            report("-rf"),
            report("a.partial"),
            report("Fern"),
            report("fern"),
        ]
    )
    assert found.names == ("good", "doubtful")
    assert found.skipped["bad"] == "unusable: cut off"
    assert found.skipped["-rf"].endswith("rename the folder")
    assert "scene name 'a.partial'" in found.skipped["a.partial"]
    assert "upper and lower case" in found.skipped["Fern"]
    assert set(found.skipped) == {"bad", "-rf", "a.partial", "Fern", "fern"}


def test_the_printed_section_is_read_by_the_stages(tmp_path):
    split = Split(HARD_NAMES, tuple(f"{name}_2" for name in HARD_NAMES))
    params = tmp_path / "params.yaml"
    params.write_text(section_text(split), encoding="utf-8")
    assert loaded(params) == ScenesConfig(list(split.train), list(split.test))


def test_many_names_are_broken_into_lines():
    text = section_text(Split(tuple(f"capture_{k}" for k in range(100)), ("t",)))
    lines = text.splitlines()
    assert lines[0].startswith("scenes: # folder names; ")
    assert max(map(len, lines)) < 110
    assert len(lines) > 10
    assert lines[-1] == "  test: [t]"


def test_only_the_scenes_change_in_a_settings_file(tmp_path):
    params = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    params.write_text(before, encoding="utf-8")
    write_section(params, Split(HARD_NAMES, ("t",)))
    assert loaded(params) == ScenesConfig(list(HARD_NAMES), ["t"])
    kept = [line for line in before.splitlines() if not line.startswith(("  train:", "  test:"))]
    after = iter(params.read_text(encoding="utf-8").splitlines())
    assert [line for line in kept if line not in after] == []  # each is found, in this order


def test_a_settings_file_without_scenes_gets_them(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("teacher: # which\n  name: x\n", encoding="utf-8")
    write_section(params, Split(("a",), ()))
    assert loaded(params) == ScenesConfig(["a"], [])
    assert params.read_text(encoding="utf-8").startswith("teacher: # which\n  name: x\n")


def test_a_folder_of_captures_becomes_a_section(copy, tmp_path):
    for name in ("a", "b", "c"):
        folder = copy(name)
    rows = np.load(folder / "poses_bounds.npy")
    np.save(copy("swapped") / "poses_bounds.npy", rows[::-1])
    result = run(folder.parent, "--test", "b")
    assert result.exit_code == 0, result.stderr
    params = tmp_path / "params.yaml"
    params.write_text(result.stdout, encoding="utf-8")
    assert loaded(params) == ScenesConfig(["a", "c"], ["b"])
    assert "left out: swapped: unusable: " in result.stderr
    assert f"`fetch.path` is {folder.parent}." in result.stderr


def test_the_section_is_written_where_it_is_asked_for(rendered, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("scenes: {train: [x], test: [y]}\n", encoding="utf-8")
    result = run(rendered, "--write", params)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert loaded(params) == ScenesConfig(["tabletop"], [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "No such file"), ("a: [", "broken YAML"), ("- a\n", "expected sections")],
)
def test_a_wrong_settings_file_is_told_in_a_line_and_stays(rendered, tmp_path, text, reason):
    params = tmp_path / "params.yaml"
    if text is not None:
        params.write_text(text, encoding="utf-8")
    result = run(rendered, "--write", params)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert reason in result.stderr.splitlines()[-1]
    assert text == (params.read_text(encoding="utf-8") if params.exists() else None)
