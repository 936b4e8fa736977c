from dataclasses import replace

import pytest
import torch
from test_benchmarks import table_of

from benchmarks.cost import Work, render_cost
from benchmarks.render import make_cases, render_row, time_renders
from benchmarks.report import PATH_HEAD, Timing
from gsn.evaluation.views.rendering import RenderConfig
from gsn.model.encoder import Encoder
from gsn.model.network import GsnModel

CPU = torch.device("cpu")
SIZES = Work(0, 3, 25, 28, (4, 3, 4))
RENDER = RenderConfig(source_views=3, pixel_stride=4, chunk_rays=20)


@pytest.fixture(scope="module")
def cases(make_config):
    return list(make_cases(make_config(), SIZES, RENDER, CPU))


def test_all_rays_of_the_view_are_counted(cases):
    assert [case.name for case in cases] == ["colour", "colour and features"]
    assert [case.work.rays for case in cases] == [7 * 7, 7 * 7]  # every fourth of 25 and of 28
    assert [case.work.teacher for case in cases] == [None, (4, 3, 4)]


@pytest.mark.parametrize("with_encoder", [False, True])
def test_the_encoder_runs_for_every_picture_only_if_it_is_timed(cases, monkeypatch, with_encoder):
    encoded, rays = [], []
    encode, render = Encoder.forward, GsnModel.forward
    monkeypatch.setattr(
        Encoder, "forward", lambda self, x: encoded.append(len(x)) or encode(self, x)
    )
    monkeypatch.setattr(
        GsnModel,
        "forward",
        lambda self, *args, **more: rays.append(len(args[1])) or render(self, *args, **more),
    )
    timing = time_renders(cases[1], False, with_encoder, CPU, repeats=2)
    assert len(timing.seconds) == 2
    assert sum(rays) == 3 * 49  # once to warm up
    assert sum(encoded) == (3 * 3 if with_encoder else 3)  # three source views


def test_a_row_tells_rates_of_the_median(cases):
    timing = Timing([0.5], peak_bytes=2**30, reserved_bytes=2**30)
    row = dict(
        zip(PATH_HEAD, render_row(cases[0], True, True, timing, torch.device("cuda")), strict=True)
    )
    cost = render_cost(cases[0].model, replace(SIZES, rays=49, teacher=None), with_encoder=True)
    assert row["what"] == "colour, with encoder, kernels"
    assert row["ms"] == "500.0"
    assert row["rays/s"] == "98"
    assert float(row["TFLOP/s"]) == pytest.approx(cost.flop / 0.5e12, rel=0.01)
    assert row["peak GiB"] == "1.00"


def test_too_small_a_memory_is_told(cases):
    row = render_row(cases[0], False, False, None, CPU)
    assert row[:2] == ["colour, readable", "out of memory"]
    assert len(row) == len(PATH_HEAD)


def test_the_command_measures_the_settings_file(write_params, tmp_path):
    params = tmp_path / "params.yaml"
    write_params(params, {})
    rows = table_of("benchmarks.render", "--default-run", "--params", str(params), "--repeats", "1")
    assert rows.pop("what") == list(PATH_HEAD[1:])
    assert list(rows) == [
        "colour, readable",
        "colour, with encoder, readable",
        "colour and features, readable",
        "colour and features, with encoder, readable",
    ]
    for milliseconds, _, rate, *_ in rows.values():
        # 36 × 48 pixels at stride 2
        assert float(rate) == pytest.approx(18 * 24 * 1000 / float(milliseconds), rel=0.05)


def test_the_command_measures_the_published_network():
    tiny = "--views 2 --height 24 --width 32 --stride 8 --chunk-rays 6 --repeats 1"
    rows = table_of("benchmarks.render", *tiny.split())
    assert len(rows) == 5
    assert all("readable" in name for name in list(rows)[1:])
