import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gsn.lock import hold, lock_path
from pipeline.command import OUTPUTS, mend, remedy

SCRIPT = """
import logging
from pathlib import Path
from pipeline.command import DEFAULT_PARAMS, ParamsFile, run_stage

def main(name: str, params: ParamsFile = DEFAULT_PARAMS) -> None:
    logging.getLogger("stage").info("name %s, params %s", name, params)
    failures = {"value": ValueError, "file": FileNotFoundError, "fault": KeyError}
    failures |= {"memory": MemoryError, "bug": RuntimeError}
    if name == "cuda":
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB\\nsecond line")
    if name in failures:
        raise failures[name]("the teapot is empty: fill it")

run_stage(main)
"""


@pytest.fixture
def run(monkeypatch):
    def stage(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-c", SCRIPT, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return stage


def test_arguments_and_options_reach_the_stage_and_its_log_is_shown(run):
    done = run("x", "--params", "other.yaml")
    assert done.returncode == 0
    assert "name x, params other.yaml" in done.stderr
    assert "name x, params params.yaml" in run("x").stderr


@pytest.mark.parametrize("mistake", ["value", "file"])
def test_a_mistake_of_the_user_is_told_in_one_line(run, mistake):
    failed = run(mistake)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith("the teapot is empty: fill it")
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("request_", ["memory", "cuda"])
def test_too_little_memory_is_told_in_one_line(run, request_):
    failed = run(request_)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith("make sizes or batches in params.yaml smaller")
    assert "Traceback" not in failed.stderr
    assert "Traceback" in run("bug").stderr


def test_the_traceback_comes_where_it_is_asked_for(run):
    failed = run("value", GSN_TRACEBACK="1")
    assert failed.returncode == 1
    assert "Traceback" in failed.stderr
    assert "the teapot is empty" in failed.stderr


def test_a_fault_of_the_program_keeps_its_traceback(run):
    failed = run("fault")
    assert failed.returncode == 1
    assert "KeyError" in failed.stderr
    assert "Traceback" in failed.stderr


def test_a_missing_argument_is_a_usage_error(run):
    failed = run()
    assert failed.returncode == 2
    assert "name" in failed.stderr.lower()


WRITER = """
from pathlib import Path
from pipeline.command import mend, run_stage

@mend("prepare", KeyError)
def main(out: Path, curves: Path = Path("curves")) -> None:
    out.write_text(" ".join(sorted(path.name for path in Path().glob("*.lock"))))

run_stage(main)
"""


def test_a_stage_holds_all_that_it_writes_and_a_second_run_is_told_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", WRITER, "out"]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "out").read_text() == "curves.lock out.lock"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for held in ("out", "curves"):
        with hold(tmp_path / held):
            second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"{held}: being written by process {os.getpid()} on " in second.stderr
        assert "Traceback" not in second.stderr
    assert not lock_path(tmp_path / "out").exists()


def test_every_stage_names_what_it_writes_as_the_lock_expects():
    folder = Path(__file__).parents[2]
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]:
        main = importlib.import_module(f"pipeline.{stage}").main
        assert "out" in inspect.signature(main).parameters, stage
        assert "out" in OUTPUTS


def test_a_damaged_file_is_told_with_the_stage_that_makes_it_anew():
    message = r"^a\.h5: damaged: run `dvc repro -f -s prepare`$"
    with pytest.raises(KeyError), mend("prepare", ValueError):
        raise KeyError
    with pytest.raises(ValueError, match=message), mend("prepare", ValueError):
        raise ValueError("a.h5: damaged")


def test_a_remedy_is_added_to_errors_of_its_kinds_alone():
    message = r"^s\.zarr: gone: make it again$"
    with (
        pytest.raises(FileNotFoundError, match=message),
        remedy("make it again", KeyError, OSError),
    ):
        raise FileNotFoundError("s.zarr: gone")
    with pytest.raises(ValueError, match=r"^damaged$"), remedy("make it again", OSError):
        raise ValueError("damaged")
