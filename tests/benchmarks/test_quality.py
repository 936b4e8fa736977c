import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_benchmarks import table_of

from benchmarks import quality
from benchmarks.quality import HEAD, Changes, Span, held_out_psnr, measure, quality_row, train_for
from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.evaluation.views.rendering import RenderConfig, View
from gsn.model.checkpoint import load_checkpoint
from gsn.training.loop import Trainer
from pipeline.config import load_section
from pipeline.pretrain import PretrainConfig

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def params(write_params, tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "params.yaml"
    write_params(path, {})
    return path


@pytest.fixture
def cfg(params):
    return load_section(params, "pretrain", PretrainConfig)


@pytest.fixture(scope="module")
def prepared(make_scene, tmp_path_factory):
    """Packs of the scenes of the settings: a and b to learn from, c to score."""
    folder = tmp_path_factory.mktemp("prepared")
    for seed, name in enumerate("abc"):
        scene = make_scene(name, seed, n_views=7, held_out=(0, 4), channels=None)
        capture = Capture(
            name=name,
            view_names=scene.view_names,
            image_sha256=scene.view_names,
            images=scene.images.permute(0, 2, 3, 1).numpy(),
            intrinsics=scene.cameras.intrinsics.double().numpy(),
            cam_to_world=scene.cameras.cam_to_world.double().numpy(),
            near=float(scene.near),
            far=float(scene.far),
        )
        write_pack(folder / f"{name}.h5", capture, np.asarray(scene.held_out))
    return folder


def test_changes_replace_what_is_given_and_nothing_else(cfg):
    training = cfg.training
    changed = Changes(rays=7, renderer_rate=0.5).of(training)
    assert changed.batch == replace(training.batch, rays=7)
    assert changed.optimiser == replace(training.optimiser, renderer_rate=0.5)
    assert replace(changed, batch=training.batch, optimiser=training.optimiser) == training
    assert Changes().of(training) == training


class Clock:
    """A clock that goes on by a second whenever a step is taken."""

    def __init__(self):
        self.now = 0.0

    def take_step(self):
        self.now += 1.0
        return {}, 5

    def perf_counter(self):
        return self.now


def test_the_first_step_is_not_counted_and_the_rest_end_with_the_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(quality, "time", clock)
    trained = train_for(clock, Span(3.0), CPU)
    assert (trained.steps, trained.rays, trained.seconds) == (3, 15, 3.0)
    assert clock.now == 4
    assert train_for(clock, Span(0.0), CPU).steps == 1


def test_the_clock_waits_for_the_device_now_and_then(monkeypatch):
    clock, waits = Clock(), []
    monkeypatch.setattr(quality, "time", clock)
    monkeypatch.setattr(quality, "wait_for", lambda device: waits.append(clock.now))
    train_for(clock, Span(120.0), CPU)
    assert waits == [1, 51, 101, 121]


def test_psnr_is_the_mean_over_the_first_held_out_views(make_scene, make_model, monkeypatch):
    scene = make_scene(n_views=8, held_out=(1, 3, 4, 6), channels=None)
    error = {1: 0.1, 3: 0.01, 4: 0.001, 6: 1.0}  # of every colour

    def view(self, target):
        photo = scene.images[target, :, ::2, ::2].permute(1, 2, 0) / 255
        return View(photo + torch.where(photo > 0.5, -1, 1) * error[target], None)

    monkeypatch.setattr(quality.SceneRenderer, "view", view)
    psnr = held_out_psnr(make_model(), scene, RenderConfig(10, 2, 100))
    assert psnr == pytest.approx((20 + 40 + 60) / 3, abs=1e-2)


def test_a_scene_without_held_out_views_cannot_be_scored(make_scene, make_model):
    scene = make_scene(held_out=(), channels=None)
    with pytest.raises(ValueError, match="noise: no view is held out"):
        held_out_psnr(make_model(), scene, RenderConfig(10, 2, 100))


def test_it_trains_scores_and_writes_the_model(prepared, cfg, tmp_path, monkeypatch):
    switched = []
    take_step = Trainer.take_step
    monkeypatch.setattr(
        Trainer,
        "take_step",
        lambda self: switched.append(self.model.use_kernels) or take_step(self),
    )
    packs, out = [prepared / "a.h5", prepared / "b.h5"], tmp_path / "models" / "8.pt"
    run = replace(cfg, training=Changes(rays=8).of(cfg.training))
    trained, psnr = measure(packs, [prepared / "c.h5", *packs[:1]], run, Span(0.0), False, CPU, out)
    assert switched == [False, False]
    assert (trained.steps, trained.rays) == (1, 8)
    assert list(psnr) == ["c", "a"]
    assert all(math.isfinite(value) for value in psnr.values())
    checkpoint = load_checkpoint(out)
    assert checkpoint.step == 2
    assert checkpoint.train_scenes == ["a", "b"]
    assert checkpoint.training["fingerprint"] == ""  # no run goes on where the clock ended it


def test_a_row_holds_the_rate_and_every_scene():
    trained = quality.Trained(steps=4, rays=100, seconds=8.0)
    row = quality_row(25, trained, {"fern": 20.125, "horns": 19.0})
    assert row == ["25", "4", "8.0", "12", "20.12", "19.00"]


def test_the_command_prints_a_run_for_each_number_of_rays(prepared, params):
    options = ["--params", str(params), "--seconds", "0", "--score", "c", "--score", "b"]
    rows = table_of("benchmarks.quality", str(prepared), *options, "--rays", "8", "--rays", "16")
    assert rows.pop(HEAD[0]) == [*HEAD[1:], "c dB", "b dB (seen)"]
    assert list(rows) == ["8", "16"]
    assert all(steps == "1" for steps, *_ in rows.values())
