import logging
import math
import time

import pytest
import torch
from torch import nn

from demo_teachers import run as run_module
from demo_teachers.run import FINAL_RATE, LARGEST_GRADIENT, PEAK_RATE, WARMUP, Run, rate_at


class FakeStream:
    """Scenes at once: 1, 2, ... waited for, then one more whenever asked."""

    def __init__(self, seed, workers, *, named_colours):
        self.asked, self.closed, self.number = (seed, workers, named_colours), False, 0
        self.make = None
        FakeStream.last = self

    def _next(self):
        self.number += 1
        return FakeStream.pairs([self.number, self.number])

    def wait(self, n_scenes):
        yield from (self._next() for _ in range(n_scenes))

    def ready(self):
        yield self._next()

    def close(self):
        self.closed = True


@pytest.fixture
def streamed(monkeypatch, numbered_pairs):
    FakeStream.pairs = staticmethod(numbered_pairs)
    monkeypatch.setattr(run_module, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_rate_rises_linearly_and_falls_by_half_a_cosine():
    assert rate_at(WARMUP / 2) == pytest.approx(PEAK_RATE / 2)
    assert rate_at(WARMUP) == pytest.approx(PEAK_RATE)
    assert rate_at((1 + WARMUP) / 2) == pytest.approx((PEAK_RATE + FINAL_RATE) / 2)
    assert rate_at(1.0) == pytest.approx(FINAL_RATE)
    quarter = FINAL_RATE + (PEAK_RATE - FINAL_RATE) * (1 + math.sqrt(0.5)) / 2
    assert rate_at(WARMUP + (1 - WARMUP) / 4) == pytest.approx(quarter)
    assert 0 < rate_at(0.0) < PEAK_RATE / 10


def test_a_run_fills_the_bank_steps_until_its_time_is_over_and_closes(streamed, caplog):
    run = Run(minutes=0.3 / 60, workers=3, seed=5)
    bank = run.fill_bank(4, named_colours=True)
    stream = FakeStream.last
    assert stream.asked == (5, 3, True)
    assert bank.n_seen == 4  # half as many scenes as pairs a step, of two pairs each
    assert bank.size == 16
    optimiser = run.optimiser(nn.Linear(2, 2), 0.1)
    parts, rates, started = [], [], time.monotonic()
    with caplog.at_level(logging.INFO, "demo_teachers.run"):
        for step, part in run.steps("a teacher", optimiser, bank):
            assert step == len(parts)
            parts.append(part)
            rates += [(group["lr"], rate_at(part)) for group in optimiser.param_groups]
            time.sleep(0.02)
    assert 0.3 <= time.monotonic() - started < 1
    assert parts == sorted(parts)
    assert parts[0] < 0.1
    assert 0.5 < parts[-1] < 1
    assert all(rate == expected for rate, expected in rates)
    assert bank.n_seen == 4 + 2 * len(parts)
    assert stream.closed
    assert f"a teacher: {len(parts)} steps, {2 * bank.n_seen} pictures" in caplog.text


def test_the_stream_seed_seeds_weights_too(streamed):
    draws = []
    for seed in (5, 5, 6):
        Run(1.0, 1, seed).fill_bank(1, named_colours=False)
        draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_every_tenth_of_a_run_is_marked_once(streamed):
    run = Run(1.0, 1, 0)
    marked = [part for part in range(100) if run.is_mark(part / 100)]
    assert marked == list(range(10, 100, 10))


def test_biases_and_frozen_weights_do_not_decay(streamed):
    network = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    network[2].requires_grad_(False)
    decaying, others = Run(1.0, 1, 0).optimiser(network, 0.1).param_groups
    assert [p.shape for p in decaying["params"]] == [(3, 2)]
    assert decaying["weight_decay"] == 0.1
    assert [p.shape for p in others["params"]] == [(3,), (3,), (3,)]
    assert others["weight_decay"] == 0


def test_a_step_goes_down_the_sum_of_losses_with_a_gradient_of_bounded_length(streamed):
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    weight = network.weight
    run = Run(1.0, 1, 0)
    run.descend(optimiser, network, {"a": 2 * weight.sum(), "b": -0.5 * weight.sum()})
    assert weight.item() == pytest.approx(1 - 0.1 * 1.5)
    run.descend(optimiser, network, {"a": 100 * weight.sum()})  # nothing is left of the first
    assert weight.item() == pytest.approx(0.85 - 0.1 * LARGEST_GRADIENT, abs=1e-5)


def test_a_report_names_the_measure_and_the_losses(streamed, caplog):
    run = Run(1.0, 1, 0)
    bank = run.fill_bank(4, named_colours=True)
    next(run.steps("a teacher", run.optimiser(nn.Linear(1, 1), 0.0), bank))
    with caplog.at_level(logging.INFO, "demo_teachers.run"):
        run.report(7, {"picture": torch.tensor(1.25)}, "label transfer", 0.5)
    assert "step 7, 0 s, 12 pictures: label transfer 0.500; picture 1.250" in caplog.text
