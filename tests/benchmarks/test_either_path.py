import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import typer

from benchmarks import either_path
from benchmarks.either_path import Pair, measure_pairs, rows_of, run_beside, without_dropout
from benchmarks.quality import Changes, Trained
from gsn.model.network import ModelConfig
from gsn.training.config import TrainingConfig
from pipeline.config import load_section
from pipeline.pretrain import PretrainConfig


@pytest.fixture
def cfg(write_params, tmp_path):
    write_params(tmp_path / "params.yaml", {})
    cfg = load_section(tmp_path / "params.yaml", "pretrain", PretrainConfig)
    return replace(cfg, model=replace(cfg.model, dropout=0.1))


def test_only_dropout_and_what_is_told_differs_from_the_settings(cfg):
    run = without_dropout(cfg, Changes(rays=7), samples=9)
    assert run.model == replace(cfg.model, dropout=0.0, samples=9)
    assert run.training == Changes(rays=7).of(cfg.training)
    assert without_dropout(cfg, Changes(), None).model.samples == cfg.model.samples
    assert isinstance(run.model, ModelConfig)
    assert isinstance(run.training, TrainingConfig)


def test_each_seed_is_trained_by_both_paths_to_the_same_step(cfg, monkeypatch):
    runs = []

    def measure(packs, scored, run, span, kernels, device):
        assert (packs, scored, device) == (["a"], ["b"], "cpu")
        runs.append((run.training.seed, kernels, span.steps, span.seconds))
        return Trained(5, 1, 1.0), {"b": 20.0 + len(runs)}

    monkeypatch.setattr(either_path, "measure", measure)
    with ThreadPoolExecutor(1) as pool:
        pairs = measure_pairs(["a"], ["b"], cfg, 5, range(3, 5), "cpu", pool)
    endless = float("inf")
    assert runs == [(seed, path, 5, endless) for seed in (3, 4) for path in (False, True)]
    assert pairs == [Pair({"b": 21.0}, {"b": 22.0}), Pair({"b": 23.0}, {"b": 24.0})]


def test_the_error_of_a_run_is_raised(cfg, monkeypatch):
    def measure(*_):
        raise ValueError("fern.h5: no such pack")

    monkeypatch.setattr(either_path, "measure", measure)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="no such pack"):
        measure_pairs(["a"], ["b"], cfg, 5, range(2), "cpu", pool)


def test_what_ended_before_an_error_was_printed(cfg, monkeypatch, capsys):
    def measure(_packs, _scored, run, _span, kernels, _device):
        if kernels:
            raise RuntimeError("out of memory")
        return Trained(5, 1, 1.0), {"fern": 20.0 + run.training.seed, "horns": 9.876}

    monkeypatch.setattr(either_path, "measure", measure)
    monkeypatch.setattr(either_path, "as_completed", list)  # in the order of their start
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="out of memory"):
        measure_pairs(["a"], ["b"], cfg, 5, range(3, 5), "cpu", pool)
    assert "seed 3, readable: fern 23.00 dB, horns 9.88 dB\n" in capsys.readouterr().out


@pytest.mark.parametrize("ends", [ValueError, KeyboardInterrupt])
def test_a_run_that_fails_ends_those_beside_it(ends):
    started = time.monotonic()
    with pytest.raises(ends), run_beside(2) as pool:
        pool.submit(time.sleep, 0).result()  # processes are there
        for _ in range(4):
            pool.submit(time.sleep, 300)
        raise ends
    while multiprocessing.active_children():
        assert time.monotonic() - started < 60
        time.sleep(0.05)


def test_differences_are_of_pairs_and_their_error_is_that_of_the_mean():
    pairs = [
        Pair({"fern": 20.0, "horns": 10.0}, {"fern": 20.1, "horns": 10.1}),
        Pair({"fern": 22.0, "horns": 12.0}, {"fern": 22.3, "horns": 11.9}),
    ]
    assert rows_of(pairs) == [
        ["fern", "21.00", "21.20", "+0.200", "0.100"],  # 0.1 and 0.3
        ["horns", "11.00", "11.00", "+0.000", "0.100"],  # 0.1 and -0.1
        ["mean", "16.00", "16.10", "+0.100", "0.000"],  # 0.1 and 0.1
    ]


def test_a_single_pair_has_no_error(tmp_path):
    with pytest.raises(typer.BadParameter, match="1: expected 2 at least"):
        either_path.main(tmp_path, seeds=1)
