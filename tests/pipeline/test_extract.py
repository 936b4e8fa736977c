"""Tests of stage `extract`. Run as a script it extracts slowly, for the test that kills it."""

import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.extraction import price
from gsn.extraction.kept_basis import BASIS_FILE
from gsn.features.basis import Basis
from gsn.features.store import FeatureMaps
from gsn.features.targets import SHARED_BASIS, load_targets
from gsn.features.update import store_path
from gsn.geometry.cell_grid import CellGrid
from pipeline import extract as stage
from pipeline.extract import ExtractConfig, main

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH, PATCH = 13, 20, 4
CPU = torch.device("cpu")
RAW, KEPT = ExtractConfig(keep_raw=True, kept_dims=2), ExtractConfig(keep_raw=False, kept_dims=2)


class FakeTeacher:
    """Mean colour and its square of each patch; remembers the photographs it was shown."""

    name = "fake"
    channels = 6
    trained = True

    def __init__(self, seed=0, delay_s=0.0, log=None):
        self.fingerprint = {"name": self.name, "weights": {"seed": seed}}
        self.seed, self.delay_s, self.log = seed, delay_s, log
        self.shown = []
        self.fails_after = math.inf

    def compile(self):
        raise AssertionError("a few views do not pay for it")

    def grid_size(self, height, width):
        return height // PATCH, width // PATCH

    def grid(self, height, width):
        return CellGrid.of_patches((PATCH, PATCH))

    def __call__(self, images):
        time.sleep(self.delay_s)
        for image in images.numpy():
            self.shown.append(digest(image))
            if self.log is not None:
                with self.log.open("a") as file:
                    file.write(digest(image) + "\n")
        pooled = torch.nn.functional.avg_pool2d(images.permute(0, 3, 1, 2).float(), PATCH)
        colours = pooled.permute(0, 2, 3, 1) / 255 + self.seed
        maps = torch.cat([colours, colours**2], dim=-1)
        return maps if len(self.shown) <= self.fails_after else maps * torch.nan


def extract(packs, out, teacher, cfg=RAW, fit_scenes=("s",)):
    stage.extract(packs, out, teacher, cfg, CPU, fit_scenes)


def digest(image):
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def photograph(scene, view):
    rng = np.random.default_rng(list(f"{scene} {view}".encode()))
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def pack(folder, scene, views, held_out=""):
    """Write a pack with a view for each letter."""
    n_views = len(views)
    capture = Capture(
        name=scene,
        view_names=tuple(views),
        image_sha256=tuple(views),
        images=np.stack([photograph(scene, view) for view in views]),
        intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
        cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
        near=1.0,
        far=2.0,
    )
    path = folder / f"{scene}.h5"
    write_pack(path, capture, np.array([view in held_out for view in views]))
    return path


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fresh(packs, folder, teacher, cfg=RAW):
    extract(packs, folder, teacher, cfg)
    return contents(folder)


def test_every_view_gets_the_map_of_its_photograph(tmp_path):
    packs = [pack(tmp_path, "s", "ab"), pack(tmp_path, "t", "c")]
    extract(packs, tmp_path / "out", FakeTeacher())
    for scene, views in (("s", "ab"), ("t", "c")):
        maps = FeatureMaps(store_path(tmp_path / "out", scene))
        assert maps.header.view_names == tuple(views)
        assert maps.header.image_size == (13, 20)
        assert maps.header.cell_grid == CellGrid((1.5, 1.5), (4, 4))
        assert maps.header.made_by == {"name": "fake", "weights": {"seed": 0}}
        for k, view in enumerate(views):
            image = photograph(scene, view) / 255  # 13 = 3 · 4 + 1 rows
            cells = image[:12].reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
            expected = np.concatenate([cells, cells**2], axis=-1)
            np.testing.assert_allclose(maps.read(k), expected, atol=1e-3)


def test_only_missing_maps_are_made_and_the_store_is_as_fresh(tmp_path):
    out = tmp_path / "out"
    extract([pack(tmp_path, "s", "abd"), pack(tmp_path, "t", "xy")], out, FakeTeacher())
    changed = [pack(tmp_path, "s", "abcd"), pack(tmp_path, "t", "y"), pack(tmp_path, "u", "z")]
    teacher = FakeTeacher()
    extract(changed, out, teacher)
    assert teacher.shown == [digest(photograph("s", "c")), digest(photograph("u", "z"))]
    assert contents(out) == fresh(changed, tmp_path / "fresh", FakeTeacher())


def test_a_scene_no_longer_there_is_dropped(tmp_path):
    out = tmp_path / "out"
    packs = [pack(tmp_path, "s", "ab"), pack(tmp_path, "t", "x")]
    extract(packs, out, FakeTeacher())
    extract(packs[:1], out, FakeTeacher())
    assert contents(out) == fresh(packs[:1], tmp_path / "fresh", FakeTeacher())


def test_the_teacher_rests_when_nothing_is_missing(tmp_path, caplog):
    packs, out = [pack(tmp_path, "s", "ab"), pack(tmp_path, "t", "x")], tmp_path / "out"
    extract(packs, out, FakeTeacher())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    teacher = FakeTeacher()
    with caplog.at_level("INFO"):
        extract(packs, out, teacher)
    assert teacher.shown == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert "0 maps made, 3 reused" in caplog.text


def test_another_teacher_makes_all_maps_again(tmp_path):
    packs, out = [pack(tmp_path, "s", "ab")], tmp_path / "out"
    extract(packs, out, FakeTeacher(seed=0))
    teacher = FakeTeacher(seed=1)
    extract(packs, out, teacher)
    assert len(teacher.shown) == 2
    assert contents(out) == fresh(packs, tmp_path / "fresh", FakeTeacher(seed=1))


@pytest.mark.parametrize("cfg", [RAW, KEPT])
def test_settings_swapped_and_swapped_back_cost_nothing(tmp_path, cfg):
    packs, out = [pack(tmp_path, "s", "ab"), pack(tmp_path, "t", "x")], tmp_path / "features" / "f"
    extract(packs, out, FakeTeacher(seed=0), cfg)
    before = contents(out)
    extract(packs, out, FakeTeacher(seed=1), cfg)
    assert contents(out) == fresh(packs, tmp_path / "fresh" / "f", FakeTeacher(seed=1), cfg)
    other = RAW if cfg is KEPT else KEPT
    extract(packs, out, FakeTeacher(seed=0), other)
    for seed, setting in ((0, cfg), (1, cfg), (0, other), (0, cfg)):
        teacher = FakeTeacher(seed=seed)
        extract(packs, out, teacher, setting)
        assert teacher.shown == []
    assert contents(out) == before


def test_maps_of_a_killed_run_survive_other_settings(tmp_path):
    path, out = pack(tmp_path, "s", "ab"), tmp_path / "features" / "f"
    extract([path], out, FakeTeacher(seed=0))
    half = FakeTeacher(seed=1)
    half.fails_after = 1
    with pytest.raises(ValueError, match="view 'b': fake gives NaN"):
        extract([path], out, half)
    teacher = FakeTeacher(seed=0)
    extract([path], out, teacher)
    assert teacher.shown == []
    assert contents(out) == fresh([path], tmp_path / "fresh" / "f", FakeTeacher(seed=0))
    teacher = FakeTeacher(seed=1)
    extract([path], out, teacher)
    assert teacher.shown == [digest(photograph("s", "b"))]


def test_the_price_is_told_before_the_work(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(price, "free_bytes", lambda path: 5_000_000_000)
    packs = [pack(tmp_path, "s", "ab")]
    with caplog.at_level("INFO"):
        extract(packs, tmp_path / "out", FakeTeacher())
    messages = [record.message for record in caplog.records]
    assert messages[0] == "2 maps to make, 0 to reuse: 0.000 GB to write, 5.000 GB free"
    assert "2 maps made, 0 reused, 0 stores dropped" in messages


@pytest.mark.parametrize("cfg", [RAW, KEPT])
def test_maps_that_do_not_fit_the_disk_are_refused_before_the_work(tmp_path, monkeypatch, cfg):
    packs, out = [pack(tmp_path, "s", "ab"), pack(tmp_path, "t", "x")], tmp_path / "features" / "f"
    one = 3 * 5 * 2 * (6 if cfg is RAW else 2)
    teacher = FakeTeacher()
    monkeypatch.setattr(price, "free_bytes", lambda path: 3 * one)
    with pytest.raises(
        OSError, match=r"f: .* GB are needed here and .* `extract\.keep_raw: false`"
    ):
        extract(packs, out, teacher, cfg)
    assert teacher.shown == [] and not out.exists()
    monkeypatch.setattr(price, "free_bytes", lambda path: 4 * one)
    extract(packs, out, teacher, cfg)
    # What is reused needs no room, being linked.
    monkeypatch.setattr(price, "free_bytes", lambda path: one + one // 2)
    packs[1] = pack(tmp_path, "t", "yx")
    extract(packs, out, teacher, cfg)
    monkeypatch.setattr(price, "hard_links_work", lambda folder: False)
    packs[1] = pack(tmp_path, "t", "zyx")
    with pytest.raises(OSError, match="are needed here"):
        extract(packs, out, teacher, cfg)


def test_kept_coefficients_are_those_of_the_basis_of_the_training_views(tmp_path):
    packs = [pack(tmp_path, "s", "abc", held_out="b"), pack(tmp_path, "t", "xy")]
    raw, out = tmp_path / "raw", tmp_path / "out"
    extract(packs, raw, FakeTeacher())
    extract(packs, out, FakeTeacher(), KEPT)
    features = {
        (scene, view): FeatureMaps(store_path(raw, scene)).read(view).astype(np.float64)
        for scene, view in [("s", 0), ("s", 1), ("s", 2), ("t", 0), ("t", 1)]
    }
    fitted_on = np.concatenate([features["s", 0], features["s", 2]]).reshape(-1, 6)
    centred = fitted_on - fitted_on.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    for (scene, view), values in features.items():
        by_hand = (values - fitted_on.mean(axis=0)) @ directions[:2].T
        got = load_targets(out, scene).maps.read(view)
        assert got.shape == (3, 5, 2)
        np.testing.assert_allclose(np.abs(got), np.abs(by_hand), atol=2e-3)
    targets = load_targets(out, "t")
    assert targets.teacher == "fake, untrained"  # the fake does not say that it is trained
    assert targets.maps.header.made_by["features"] == FakeTeacher().fingerprint


def test_with_kept_coefficients_only_new_views_are_seen_while_the_basis_stays(tmp_path):
    packs, out = [pack(tmp_path, "s", "ab"), pack(tmp_path, "t", "x")], tmp_path / "out"
    teacher = FakeTeacher()
    extract(packs, out, teacher, KEPT)
    views = [
        digest(photograph(scene, view)) for scene, view in (("s", "a"), ("s", "b"), ("t", "x"))
    ]
    assert teacher.shown == [*views[:2], *views]
    packs[1] = pack(tmp_path, "t", "xy")
    teacher = FakeTeacher()
    extract(packs, out, teacher, KEPT)
    assert teacher.shown == [digest(photograph("t", "y"))]
    assert contents(out) == fresh(packs, tmp_path / "fresh", FakeTeacher(), KEPT)
    packs[0] = pack(tmp_path, "s", "abc")
    teacher = FakeTeacher()
    extract(packs, out, teacher, KEPT)
    assert len(teacher.shown) == 3 + 5
    assert contents(out) == fresh(packs, tmp_path / "fresh", FakeTeacher(), KEPT)


def test_the_basis_goes_when_all_channels_are_kept(tmp_path):
    packs, out = [pack(tmp_path, "s", "ab")], tmp_path / "out"
    extract(packs, out, FakeTeacher(), KEPT)
    assert Basis.load(out / BASIS_FILE).components.shape == (2, 6)
    assert BASIS_FILE == SHARED_BASIS
    extract(packs, out, FakeTeacher(), RAW)
    assert contents(out) == fresh(packs, tmp_path / "fresh", FakeTeacher(), RAW)
    assert not (out / BASIS_FILE).exists()


def test_more_dimensions_than_the_teacher_has_are_refused(tmp_path):
    cfg = ExtractConfig(keep_raw=False, kept_dims=7)
    with pytest.raises(ValueError, match=r"7 PCA.* fake has 6 channels: check `extract"):
        extract([pack(tmp_path, "s", "ab")], tmp_path / "out", FakeTeacher(), cfg)


def test_a_basis_without_views_to_fit_it_on_is_refused(tmp_path):
    packs = [pack(tmp_path, "s", "ab", held_out="ab")]
    with pytest.raises(ValueError, match="basis of fake on 0 views that are not held out: 2 PCA"):
        extract(packs, tmp_path / "out", FakeTeacher(), KEPT)


def test_a_teacher_that_gives_nan_makes_no_basis(tmp_path):
    teacher = FakeTeacher()
    teacher.fails_after = 0
    with pytest.raises(ValueError, match="features hold NaN"):
        extract([pack(tmp_path, "s", "ab")], tmp_path / "out", teacher, KEPT)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("trained", [True, False])
def test_untrained_weights_are_told(tmp_path, caplog, trained):
    teacher = FakeTeacher()
    teacher.trained = trained
    extract([pack(tmp_path, "s", "a")], tmp_path / "out", teacher)
    assert ("fake has untrained weights" in caplog.text) is not trained


def test_values_beyond_float16_are_refused_and_not_kept(tmp_path):
    path = pack(tmp_path, "s", "a")
    with pytest.raises(ValueError, match=r"s\.h5: view 'a': fake gives NaN or a value beyond"):
        extract([path], tmp_path / "out", FakeTeacher(seed=70000))
    assert not store_path(tmp_path / "out", "s").exists()


def test_killed_while_writing_it_goes_on_where_it_was(tmp_path):
    views = "abcdefgh"
    path, out, log = pack(tmp_path, "s", views), tmp_path / "out", tmp_path / "log"
    command = [sys.executable, __file__, str(path), str(out), str(log)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    partial = out / "s.zarr.partial"
    deadline = time.monotonic() + 60
    while len(list(partial.glob("c.*.0.0.0"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline, "it ended too early"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "s.zarr").exists()
    n_finished = len(list(partial.glob("c.*.0.0.0")))
    assert 3 <= n_finished < len(views)

    teacher = FakeTeacher()
    extract([path], out, teacher)
    assert teacher.shown == [digest(photograph("s", view)) for view in views[n_finished:]]
    assert set(log.read_text().split()) >= {digest(photograph("s", v)) for v in views[:n_finished]}
    assert contents(out) == fresh([path], tmp_path / "fresh", FakeTeacher())


def test_the_command_line_runs_the_teacher_of_the_settings(tmp_path, caplog, write_params):
    pack(tmp_path, "s", "ab")
    params = tmp_path / "params.yaml"
    changes = {"scenes.train": ["s"], "scenes.test": [], "teacher.name": "dino_vits8"}
    write_params(params, changes | {"teacher.weights": "seeded", "teacher.seed": 3})
    main(tmp_path, tmp_path / "out", params, "cpu")
    header = FeatureMaps(tmp_path / "out" / "s.zarr").header
    assert header.map_shape == (1, 2, 384)
    assert header.made_by["weights"]["seed"] == 3
    assert header.made_by["weights"]["trained"] is False
    assert "untrained" in caplog.text


if __name__ == "__main__":
    source, target, shown = map(Path, sys.argv[1:])
    extract([source], target, FakeTeacher(delay_s=0.2, log=shown))
