import re
from dataclasses import replace

import pytest
import torch
import typer
from test_benchmarks import table_of

from benchmarks.cost import Work, step_cost
from benchmarks.data_path import (
    HEAD,
    cases,
    copied_bytes,
    main,
    rows_of,
    time_drawing,
    time_steps,
)
from benchmarks.train_step import StepCase
from gsn.training.batches import draw_batch

CPU = torch.device("cpu")
SIZES = Work(rays=0, views=2, height=24, width=32)


@pytest.fixture
def made():
    return list(cases(SIZES, rays=[4, 6], n_scenes=2, n_views=5, device=CPU))


@pytest.fixture
def tiny(made, make_config):
    """Stage II of four rays, with a tiny network."""
    return replace(made[2], model=make_config())


def test_both_stages_come_with_all_numbers_of_rays(made):
    names = ["stage I, 4 rays", "stage I, 6 rays", "stage II, 4 rays", "stage II, 6 rays"]
    assert [case.name for case in made] == [f"{name}, on the CPU" for name in names]
    for case in made:
        assert [tuple(scene.images.shape) for scene in case.scenes] == [(5, 3, 24, 32)] * 2
        assert (case.scenes[0].teacher is not None) == case.name.startswith("stage II")
        assert case.training.batch.rays in (4, 6)
        assert case.training.batch.source_views == 2
    assert made[2].scenes[0].teacher.values.shape == (5, 64, 3, 4)


def test_steps_without_drawing_draw_nothing(tiny, monkeypatch):
    drawn = []

    def spy(*arguments):
        drawn.append(arguments)
        return draw_batch(*arguments)

    monkeypatch.setattr("gsn.training.batch_queue.draw_batch", spy)
    with_drawing, without = time_steps(tiny, warm_up=1, steps=2)
    assert len(with_drawing.seconds) == len(without.seconds) == 3 * 2
    # Eight to be used again, one for each of three rounds of three steps, and one ahead.
    assert len(drawn) == 8 + 3 * 3 + 1


def test_drawing_is_timed_on_the_host_and_a_cpu_has_no_other_clock(tiny):
    host, on_device = time_drawing(tiny, repeats=4)
    assert len(host.seconds) == 4
    assert min(host.seconds) > 0
    assert on_device is None


def test_on_the_cpu_nothing_is_copied(tiny):
    assert copied_bytes(tiny.scenes[0], tiny.training.batch) == 0


@pytest.mark.gpu
def test_from_the_host_the_views_of_a_step_are_copied_and_else_their_numbers():
    made = list(cases(SIZES, rays=[4], n_scenes=1, n_views=5, device=torch.device("cuda:0")))
    assert [case.name.rsplit(", ")[-1] for case in made] == ["on the device", "pinned"] * 2
    copied = [copied_bytes(case.scenes[0], case.training.batch) for case in made]
    photo, maps = 3 * 24 * 32, 64 * 3 * 4 * 2
    assert copied == [3 * 8, 3 * (8 + photo), 3 * 8, 3 * (8 + photo + maps)]


def test_a_case_has_four_rows(tiny: StepCase):
    rows = rows_of(tiny, warm_up=0, steps=2)
    kinds = ["draw, host", "draw, device", "step", "step, drawn before"]
    assert [row[0] for row in rows] == [f"{tiny.name}: {kind}" for kind in kinds]
    assert [row[1] == "–" for row in rows] == [False, True, False, False]
    assert all(len(row) == len(HEAD) for row in rows)
    assert re.fullmatch(r"-?\d+\.\d%", rows[2][7])
    flop = step_cost(tiny.model, tiny.work).flop
    assert float(rows[2][3]) == pytest.approx(flop / float(rows[2][1]) / 1e9, rel=0.02)


def test_a_scene_has_more_views_than_a_step_takes():
    with pytest.raises(typer.BadParameter, match="4: expected more than the 4 source views"):
        main(views=4, scene_views=4)


def test_the_benchmark_prints_one_table():
    sizes = "--rays 4 --views 2 --height 24 --width 32 --scenes 1 --scene-views 4"
    rows = table_of("benchmarks.data_path", *sizes.split(), "--warm-up", "0", "--steps", "1")
    assert rows.pop("what") == list(HEAD[1:])
    assert len(rows) == 2 * 4
    assert float(rows["stage II, 4 rays, on the CPU: step"][0]) > 0
