from dataclasses import replace

import pytest
import torch
import typer
from test_benchmarks import table_of

from benchmarks.cost import Cost, Work, step_cost
from benchmarks.report import PATH_HEAD, Timing, rate_cells, time_each, which_paths
from benchmarks.train_step import (
    FAR,
    FOCUS,
    NEAR,
    StepCase,
    default_cases,
    noise_scene,
    published_cases,
    published_training,
    step_row,
    time_steps,
)
from gsn.geometry.projection import project
from gsn.training.loop import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
WORK = Work(8, 3, 24, 28, (4, 3, 4))


def test_every_camera_of_a_scene_of_noise_looks_at_the_same_point():
    scene = noise_scene(0, 5, WORK, CPU, held_out=2)
    focus = torch.tensor([[0.0, 0.0, FOCUS]])
    pixels = project(focus, scene.cameras, 0.5).pixels[:, 0]
    torch.testing.assert_close(pixels[:, 0], torch.full((5,), 28 / 2 - 0.5))
    assert (pixels[:, 1] - 24 / 2).abs().max() < 2  # cameras are a little above and below
    assert NEAR < FOCUS < FAR
    assert scene.held_out.tolist() == [False, False, True, False, False]


def test_noise_is_smooth_and_full_of_contrast():
    photos = noise_scene(0, 5, replace(WORK, height=96, width=120), CPU).images.float()
    assert photos.std() > 30
    assert photos.diff(dim=-1).abs().mean() < 10


def test_published_steps_are_of_two_stages_and_every_number_of_rays():
    sizes = Work(0, 3, 24, 32)
    cases = list(published_cases([2, 5], sizes, parity=False, device=CPU))
    assert [(case.name, case.work.rays) for case in cases] == [
        ("stage I, 2 rays", 2),
        ("stage I, 5 rays", 5),
        ("stage II, 2 rays", 2),
        ("stage II, 5 rays", 5),
    ]
    assert [case.work.teacher for case in cases] == [None, None, (64, 3, 4), (64, 3, 4)]
    assert all(case.training.batch.rays == case.work.rays for case in cases)
    assert cases[2].scenes[0].teacher.values.shape == (5, 64, 3, 4)


@pytest.mark.parametrize("kernels", [False, True])
def test_the_switch_of_the_kernels_reaches_the_model_that_is_timed(
    make_config, monkeypatch, kernels
):
    seen = []
    take_step = Trainer.take_step

    def spy(trainer):
        seen.append(trainer.model.use_kernels)
        return take_step(trainer)

    monkeypatch.setattr(Trainer, "take_step", spy)
    scenes = [noise_scene(0, 5, WORK, CPU)]
    case = StepCase("tiny", make_config(), published_training(WORK), scenes, WORK)
    timing = time_steps(case, kernels, CPU, warm_up=1, steps=3)
    assert seen == [kernels] * 4
    assert len(timing.seconds) == 3
    assert timing.peak_bytes is None


def test_a_row_tells_rates_of_the_median(make_config):
    case = StepCase("tiny", make_config(), published_training(WORK), [], WORK)
    timing = Timing([0.2, 0.1, 0.4], peak_bytes=3 * 2**29, reserved_bytes=2**31)
    row = dict(zip(PATH_HEAD, step_row(case, True, timing, CUDA), strict=True))
    cost = step_cost(case.model, WORK)
    assert row["what"] == "tiny, kernels"
    assert row["ms"] == "200.00"
    assert row["10-90 %"] == "120.00-360.00"
    assert row["rays/s"] == "40"
    assert float(row["TFLOP/s"]) == pytest.approx(cost.flop / 0.2e12, rel=0.01)
    assert float(row["GB/s"]) == pytest.approx(cost.bytes / 0.2e9, rel=0.01)
    assert row["peak GiB"] == "1.50"
    assert row["reserved GiB"] == "2.00"


def test_the_floor_is_told_of_a_gpu_only():
    cost = Cost(flop=800e12, bytes=1.0)  # one second
    timing = Timing([4.0], None, None)
    assert rate_cells(cost, timing, CUDA)[1] == "25.0%"
    assert rate_cells(cost, timing, CPU)[1] == "–"


def test_too_small_a_memory_is_a_row_and_no_error(make_config):
    def exhaust():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    assert time_each(exhaust, CPU, 1, 1) is None
    case = StepCase("tiny", make_config(), published_training(WORK), [], WORK)
    row = step_row(case, False, None, CPU)
    assert row[:2] == ["tiny, readable", "out of memory"]
    assert len(row) == len(PATH_HEAD)


def test_both_paths_are_timed_where_both_run_unless_told(make_config, monkeypatch):
    given = make_config(), 4, CPU
    assert which_paths(None, *given) == which_paths(False, *given) == [False]
    with pytest.raises(typer.BadParameter, match="no kernels run on cpu for this network"):
        which_paths(True, *given)
    monkeypatch.setattr("gsn.model.network.kernels_run_on", lambda device: True)
    assert which_paths(None, *given) == [True, False]
    assert which_paths(True, *given) == [True]
    wide = make_config(encoder_channels=126)
    assert which_paths(None, wide, 4, CPU) == [False]


def test_steps_of_a_settings_file_have_its_sizes(write_params, tmp_path):
    write_params(tmp_path / "params.yaml", {"distill.training.batch.rays": 9})
    first, second = default_cases(tmp_path / "params.yaml", CPU)
    assert first.work == Work(64, 3, 36, 48)
    assert second.work == Work(9, 3, 36, 48, (8, 4, 6))
    assert first.model.width == 16
    assert second.training.batch.rays == 9
    assert second.scenes[0].images.shape == (6, 3, 36, 48)


def test_the_command_prints_one_table():
    tiny = "--rays 2 --views 3 --height 24 --width 32 --steps 2 --warm-up 1"
    rows = table_of("benchmarks.train_step", *tiny.split())
    assert rows.pop("what") == list(PATH_HEAD[1:])
    assert list(rows) == ["stage I, 2 rays, readable", "stage II, 2 rays, readable"]
    for milliseconds, _, rate, *_ in rows.values():
        assert float(rate) == pytest.approx(2000 / float(milliseconds), abs=0.51)


def test_the_command_measures_the_settings_file(write_params, tmp_path):
    params = tmp_path / "params.yaml"
    write_params(params, {})
    options = ["--default-run", "--params", str(params), "--steps", "1", "--warm-up", "0"]
    rows = table_of("benchmarks.train_step", *options)
    assert list(rows) == ["what", "stage I, 64 rays, readable", "stage II, 64 rays, readable"]
