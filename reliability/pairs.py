"""Two processes at the same output, and stages in processes of their own."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from reliability.child import ENVIRONMENT, LIMIT_S, Run
from reliability.kinds import Extent
from reliability.lab import IDENTICAL, STOPPED, Failure, Lab, Try, expect
from reliability.project import ROOT, Stage
from reliability.states import States
from reliability.trees import changed_files, differences, digest_of

REPRO = "prepare"  # brought about by both `dvc repro`, with what comes before it
CODE = (Path("gsn"), Path("pipeline"), Path("dvc.yaml"), Path(".dvcignore"))
REFUSALS = ("blocked by", "Unable to acquire lock", "being written by")


def plan_pairs(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Draw when the second run starts, as a share of the time that the first one takes."""
    return [f"{draw.random():.4f}" for _ in range(extent.pairs)]


def run_two(lab: Lab, one: Try) -> str:
    """Run a stage twice at once: one of them may be refused, with the other one's name."""
    stage, undisturbed = lab.stage_of(one), lab.begin(one)
    first = Run(lab.place, stage)
    first.let_work(float(one.value) * undisturbed.ended.seconds)
    second = Run(lab.place, stage)
    both = [first.wait(), second.wait()]
    for ended, other in zip(both, (second, first), strict=True):
        if "Traceback" in ended.said:
            raise Failure(f"a traceback: {ended.last_words}")
        if not ended.finished and str(other.pid) not in ended.last_words:
            raise Failure(f"the message does not name the other process: {ended.last_words}")
    if not any(ended.finished for ended in both):
        raise Failure("each run was refused for the other")
    expect(digest_of(lab.place), undisturbed.after, "after two runs at once")
    return IDENTICAL if all(ended.finished for ended in both) else STOPPED


def plan_repros(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Draw how many seconds after the first the second `dvc repro` starts."""
    if stage.name != REPRO or not extent.processes:
        return []
    return [f"{4 * draw.random():.2f}" for _ in range(extent.pairs)]


def repro_twice(lab: Lab, one: Try) -> str:
    """Run `dvc repro` twice at once, in a project with its own copy of the code."""
    undisturbed = lab.begin(one)
    before = lab.states.of(lab.states.graph.stages[0])
    shutil.rmtree(lab.place / "data")
    graph = lab.states.graph
    needed = [path for stage in graph.stages for path in stage.reads if not graph.maker_of(path)]
    for path in (*CODE, *needed):
        if not (lab.place / path).exists():
            _copy(ROOT / path, lab.place / path)
    dvc = (sys.executable, "-m", "dvc")
    _ended(_start(lab.place, *dvc, "init", "--quiet", "--no-scm"))
    first = _start(lab.place, *dvc, "repro", REPRO)
    time.sleep(float(one.value))
    second = _start(lab.place, *dvc, "repro", REPRO)
    refused = [_refused(first), _refused(second)]
    if all(refused):
        raise Failure("each `dvc repro` was refused for the other")
    made = changed_files(before.before, undisturbed.after)
    found = digest_of(lab.place)
    wrong = differences({name: found.get(name, "") for name in made}, undisturbed.after)
    if wrong := [fault for fault in wrong if not fault.endswith("is missing")]:
        raise Failure(f"two `dvc repro` at once: {wrong[0]}")
    return STOPPED if any(refused) else IDENTICAL


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.is_file():
        shutil.copyfile(source, target)


def plan_processes(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Run each stage once in a process of its own."""
    return ["python -m"] if extent.processes else []


def run_alone(lab: Lab, one: Try) -> str:
    """Compare what a user's command makes with what the forked stage made."""
    stage, undisturbed = lab.stage_of(one), lab.begin(one)
    said = _ended(_start(lab.place, sys.executable, "-m", stage.module, *stage.arguments))
    expect(digest_of(lab.place), undisturbed.after, f"python -m {stage.module} ({said[-80:]})")
    return IDENTICAL


def _start(folder: Path, *command: str) -> subprocess.Popen[str]:
    # DVC keeps its settings and caches out of the user's.
    places = {f"DVC_{kind}_DIR": str(folder / ".dvc") for kind in ("GLOBAL_CONFIG", "SITE_CACHE")}
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **places, "DVC_NO_ANALYTICS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _ended(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=LIMIT_S)
    if process.returncode:
        raise Failure(f"{process.args!r} ends with {process.returncode}: {said[-500:]}")
    return said


def _refused(process: subprocess.Popen[str]) -> bool:
    """Wait for a `dvc repro`; whether it gave way to the other one."""
    said, _ = process.communicate(timeout=LIMIT_S)
    if process.returncode and not any(word in said for word in REFUSALS):
        raise Failure(f"`dvc repro` ends with {process.returncode}: {said[-500:]}")
    return process.returncode != 0
