"""The command as a user gives it. The short form takes a minute and a half on two cores."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ["fetch", "prepare", "extract", "reduce", "pretrain", "distill", "evaluate"]


def reliability(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "reliability", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def test_the_short_form_finds_no_failure(tmp_path):
    table = tmp_path / "table.md"
    done = reliability("--short", "--table", str(table))
    assert done.returncode == 0, done.stdout[-5000:]
    rows = [line.split("|") for line in table.read_text().splitlines() if line.startswith("| ")]
    tried = {(row[1].strip(), row[2].strip()) for row in rows}
    for fault in ("killed at a random moment", "no space at a write", "two runs at once"):
        assert {stage for kind, stage in tried if kind == fault} == set(STAGES)
    assert "seed 0" in table.read_text()


@pytest.mark.parametrize(
    ("option", "value", "known"), [("--stage", "bake", "reduce"), ("--fault", "rain", "disk full")]
)
def test_an_unknown_name_is_answered_with_the_known_ones(option, value, known):
    done = reliability(option, value)
    assert done.returncode == 1
    assert f"unknown {option[2:]} '{value}'" in done.stdout
    assert known in done.stdout
    assert "Traceback" not in done.stdout
