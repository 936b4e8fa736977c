"""The graph as a user runs it: `dvc repro` in copies of the repository, on tiny scenes.

Each copy has its own DVC cache, linked hard to the working files: a stage that wrote into an old
output would damage the cache.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gsn.model.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[1]
COPIED = ["gsn", "pipeline", "data/captures", "data/weights", "dvc.yaml", ".dvcignore"]
COPIED += ["archives.lock.yaml", ".gitignore", ".dvc/config"]
STAGES = ["fetch", "prepare", "extract", "reduce", "pretrain", "distill"]
EVALUATIONS = ["evaluate@unseen", "evaluate@seen"]
MODELS = {"pretrain": "models/pretrain.pt", "distill": "models/distill/dino_vits16.pt"}
MAX_STEPS, CHECKPOINT_EVERY = 40, 4
CHANGES = {
    f"{stage}.training.{key}": value
    for stage in ("pretrain", "distill")
    for key, value in {
        "max_steps": MAX_STEPS,
        "log_every": 2,
        "checkpoint_every": CHECKPOINT_EVERY,
        "batch.rays": 192,  # slow enough to be killed between two checkpoints
    }.items()
}
N_VIEWS, N_MAPS = 6, 18  # of a scene, of all three
LIMIT_S = 300


def environment(folder):
    """What the stages run in: this Python, one CPU thread, no settings of the user's DVC or git."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT_", "DVC_", "PYTHON"))
    }
    for kind in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        kept[f"DVC_{kind}_DIR"] = str(folder / kind.lower())
    kept |= {"DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


class Workspace:
    """A copy of the repository with its DVC cache."""

    def __init__(self, folder, write_params):
        self.folder = folder
        self.environment = environment(folder.parent)
        self._write_params = write_params

    def set_params(self, changes):
        self._write_params(self.folder / "params.yaml", CHANGES | changes)

    def copy(self, folder):
        """Copy everything, what is one file under several names remaining one file."""
        names = {}

        def copy_file(source, target):
            inode = Path(source).stat().st_ino
            if inode in names:
                os.link(names[inode], target)
            else:
                names[inode] = shutil.copy2(source, target)

        shutil.copytree(self.folder, folder, copy_function=copy_file)
        return Workspace(folder, self._write_params)

    def start(self, *command):
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *command):
        process = self.start(*command)
        output, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, output
        return output.replace("\r", "\n")

    def dvc(self, *arguments):
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def repro(self, *arguments):
        return Log(self.dvc("repro", *arguments))

    def kill_repro(self, target, is_middle):
        """Run `dvc repro` and kill it with the stage it runs, once `is_middle` holds."""
        process = self.start(sys.executable, "-m", "dvc", "repro", target)
        deadline = time.monotonic() + LIMIT_S
        while not is_middle():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def contents(self, *places):
        """Bytes of all files of some files and folders."""
        paths = [self.folder / place for place in places]
        files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
        return {file.relative_to(self.folder): file.read_bytes() for file in files}

    def damaged_cache_files(self):
        """Files of the DVC cache that are not what their name says."""
        cache = self.folder / ".dvc" / "cache" / "files" / "md5"
        files = [path for path in cache.rglob("*") if path.is_file()]
        assert len(files) > 50
        return [
            path
            for path in files
            if hashlib.md5(path.read_bytes()).hexdigest()
            != path.parent.name + path.name.removesuffix(".dir")
        ]


class Log:
    """What `dvc repro` and the stages said."""

    def __init__(self, text):
        self.text = text
        self.ran = re.findall(r"^Running stage '(.+)':$", text, re.MULTILINE)

    def numbers(self, pattern):
        found = re.search(pattern, self.text)
        assert found, self.text
        return tuple(int(group) for group in found.groups())

    @property
    def maps(self):
        """Numbers of maps that the teacher made and that were reused."""
        return self.numbers(r"(\d+) maps made, (\d+) reused")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_params):
    """A workspace where the whole graph ran once, and what it said."""
    workspace = Workspace(tmp_path_factory.mktemp("graph") / "finished", write_params)
    for name in COPIED:
        source, target = ROOT / name, workspace.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    workspace.set_params({})
    workspace.run("git", "init", "--quiet")
    workspace.run("git", "add", ".")
    author = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
    workspace.run("git", *author, "commit", "--quiet", "--no-verify", "--message", "Start")
    workspace.dvc("config", "--local", "cache.type", "hardlink")
    log = workspace.repro()
    assert log.ran == [*STAGES, *EVALUATIONS]
    assert log.maps == (N_MAPS, 0)
    return workspace


@pytest.fixture
def copy(finished, tmp_path):
    return finished.copy(tmp_path / "copy")


def test_the_metrics_and_the_curves_can_be_shown(finished):
    metrics = json.loads(finished.dvc("metrics", "show", "--json"))[""]["data"]
    assert metrics["reports/unseen/metrics.json"]["data"]["psnr_db"] > 0
    for stage in ("pretrain", "distill"):
        assert metrics[f"reports/{stage}/metrics.json"]["data"]["step"] == MAX_STEPS
    plots = json.loads(finished.dvc("plots", "show", "--json", "--split"))["data"]
    for name, n_curves in (("loss", 2), ("psnr", 2), ("feature cosine", 1)):
        points = plots[name][0]["anchor_definitions"]["<DVC_METRIC_DATA>"]
        assert len(points) == n_curves * MAX_STEPS / 2, name
        assert {int(point["step"]) for point in points} == set(range(2, MAX_STEPS + 1, 2))


def test_a_second_run_runs_nothing(finished):
    log = finished.repro()
    assert log.ran == []
    for stage in (*STAGES, *EVALUATIONS):
        assert f"Stage '{stage}' didn't change, skipping" in log.text


def test_an_added_scene_runs_the_teacher_on_its_views_alone(copy):
    before = copy.contents("data/raw", "data/features")
    copy.set_params({"scenes.test": ["c", "d"]})
    log = copy.repro("extract")
    assert log.ran == ["fetch", "prepare", "extract"]
    assert log.numbers(r"(\d+) scenes made, (\d+) kept") == (1, 3)
    assert log.maps == (N_VIEWS, N_MAPS)
    after = copy.contents("data/raw", "data/features")
    assert {path for path in after if path not in before} == {
        path for path in after if path.parts[2] == "d" or path.parts[3] == "d.zarr"
    }
    assert {path: after[path] for path in before} == before
    assert copy.damaged_cache_files() == []


def test_changing_the_teacher_and_back_runs_no_teacher(copy):
    def states():
        files = copy.contents("data/features/dino_vits16")
        return {path: (copy.folder / path).stat().st_mtime_ns for path in files}

    before, maps = states(), copy.contents("data/features/dino_vits16", "data/targets")
    copy.set_params({"teacher.name": "dino_vits8"})
    log = copy.repro("reduce")
    assert (log.ran, log.maps) == (["extract", "reduce"], (N_MAPS, 0))
    copy.set_params({})
    log = copy.repro("reduce")
    assert log.maps == (0, N_MAPS)
    assert "reduce" not in log.ran  # DVC remembers what came of these very maps
    assert copy.contents("data/features/dino_vits16", "data/targets/dino_vits16") == maps
    assert states() == before
    assert copy.damaged_cache_files() == []


def test_another_pca_size_runs_no_teacher(copy):
    copy.set_params({"reduce.dims": 4})
    assert copy.repro("reduce").ran == ["reduce"]
    assert copy.repro("--dry", "distill").ran == ["distill"]


def test_a_replaced_file_of_weights_runs_the_teacher(copy):
    (copy.folder / "data/weights/README.md").write_bytes(b"a file of weights, replaced")
    assert copy.repro("--dry", "extract").ran == ["extract"]


def test_a_training_parameter_runs_neither_teacher_nor_pca(copy):
    copy.set_params({"pretrain.training.seed": 77})
    assert copy.repro("--dry", "distill").ran == ["pretrain"]
    copy.set_params({"distill.training.seed": 77})
    assert copy.repro("distill").ran == ["distill"]


def test_extract_killed_in_the_middle_ends_with_the_same_bytes(copy, finished):
    features = copy.folder / "data/features/dino_vits16"
    shutil.rmtree(features)
    copy.kill_repro("extract", lambda: len(list(features.glob("*.partial/c.*.0.0.0"))) >= 2)
    partial = list(features.glob("*.zarr.partial"))
    n_found = len(list(features.glob("*.zarr*/c.*.0.0.0")))
    assert len(partial) == 1 and not partial[0].with_suffix("").exists()
    assert 2 <= n_found < N_MAPS

    log = copy.repro("extract")
    assert (log.ran, log.maps) == (["extract"], (N_MAPS - n_found, n_found))
    assert_same(copy, finished, "data/features")


@pytest.mark.parametrize("stage", ["pretrain", "distill"])
def test_training_killed_in_the_middle_ends_with_the_same_bytes(copy, finished, stage):
    model = copy.folder / MODELS[stage]
    model.unlink()
    copy.kill_repro(stage, model.exists)
    step = load_checkpoint(model).step
    assert CHECKPOINT_EVERY <= step < MAX_STEPS

    log = copy.repro(stage)
    assert log.ran == [stage]
    assert log.numbers(r"continued at step (\d+) of (\d+)") == (step, MAX_STEPS)
    assert_same(copy, finished, MODELS[stage], f"reports/{stage}")


def assert_same(copy, finished, *outputs):
    """Outputs are those of the undisturbed run, so that nothing after them has to run again."""
    assert copy.contents(*outputs) == finished.contents(*outputs)
    assert copy.contents("dvc.lock") == finished.contents("dvc.lock")
    assert copy.damaged_cache_files() == []
