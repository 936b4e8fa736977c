"""Steps in CUDA graphs against the same steps queued kernel by kernel."""

import math
from dataclasses import replace

import pytest
import torch

from gsn.model.checkpoint import load_checkpoint
from gsn.training.captured_steps import CapturedSteps
from gsn.training.cuda_graphs import CudaGraphs
from gsn.training.loop import Trainer, train
from gsn.training.origin import Origin
from gsn.training.residence import Residence

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda:0")
SIZES = (24, 28), (32, 40)


@pytest.fixture(scope="module")
def make_trainer(make_scene, make_model, make_training):
    """Return what builds a trainer on scenes of these sizes; every batch has three views."""

    def build(dropout=0.0, sizes=SIZES, start=0, channels=4, **changes):
        residence = Residence(CUDA)
        scenes = [residence.place(make_scene(str(s), size=s, channels=channels)) for s in sizes]
        model = make_model(channels, seed=start, dropout=dropout).to(CUDA)
        changes = {"max_steps": 99, "batch": {"source_views_spread": 0}} | changes
        return Trainer(model, scenes, make_training(**changes), Origin("run"))

    return build


@pytest.fixture(scope="module")
def make_replaying(make_trainer):
    """Return what builds a trainer with one shape of batch, whose step is recorded."""

    def build(**changes):
        trainer = make_trainer(sizes=SIZES[:1], **changes)
        for _ in range(4):
            trainer.take_step()
        assert trainer.steps.replayed == 2
        return trainer

    return build


def weights(trainer):
    return {key: value.clone() for key, value in trainer.model.state_dict().items()}


def moved(trainer, before):
    return any(not torch.equal(value, before[key]) for key, value in weights(trainer).items())


def change(trainer, before):
    """How far all weights together went, as one vector."""
    now = weights(trainer)
    return torch.cat([(now[key] - value).flatten() for key, value in before.items()])


def losses(trainer, n_steps):
    return torch.stack([trainer.take_step()[0]["loss"] for _ in range(n_steps)])


@pytest.mark.parametrize("channels", [None, 4])
def test_replayed_steps_have_the_losses_of_steps_queued_kernel_by_kernel(make_trainer, channels):
    """Two shapes in turn, with a warmup and a decay of the rates on the way."""
    replaying, eager = make_trainer(channels=channels), make_trainer(channels=channels)
    eager.steps = CapturedSteps(eager.optimiser, None)
    start = weights(eager)
    got, expected = losses(replaying, 20), losses(eager, 20)
    assert replaying.steps.replayed == 16
    assert eager.steps.replayed == 0
    assert expected.std() > 0.03 * expected.mean()  # so that a batch is told from another
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0)
    # Adam makes as much of a gradient that is all rounding as of any other.
    assert torch.cosine_similarity(change(replaying, start), change(eager, start), dim=0) > 0.7
    torch.testing.assert_close(
        torch.stack([replaying.sums[key] for key in eager.sums]),
        torch.stack([*eager.sums.values()]),
        rtol=0.02,
        atol=0,
    )


def test_a_replayed_step_without_a_finite_gradient_changes_nothing(make_replaying):
    trainer = make_replaying()
    before, sums = weights(trainer), {key: float(value) for key, value in trainer.sums.items()}
    counts = {float(moments["step"]) for moments in trainer.optimiser.state.values()}
    assert counts == {4}
    batch = trainer.batches.take()
    trainer.batches.take = lambda: replace(batch, rgb=batch.rgb * torch.nan)
    parts, _ = trainer.take_step()
    assert trainer.steps.replayed == 3
    assert math.isnan(float(parts["loss"]))
    assert not moved(trainer, before)
    assert {key: float(value) for key, value in trainer.sums.items()} == sums
    assert {float(m["step"]) for m in trainer.optimiser.state.values()} == counts
    trainer.batches.take = lambda: batch
    trainer.take_step()
    assert trainer.steps.replayed == 4
    assert moved(trainer, before)
    assert all(value.isfinite().all() for value in weights(trainer).values())


def test_a_rate_that_changes_reaches_a_replayed_step(make_replaying, monkeypatch):
    """Adam moves a weight in proportion to the rate."""
    trainer = make_replaying()

    def step_at(rate):
        def fill(optimiser, *_):
            for group in optimiser.param_groups:
                group["lr"].fill_(rate)

        monkeypatch.setattr("gsn.training.loop.set_rates", fill)
        before = weights(trainer)
        trainer.take_step()
        return {key: value - before[key] for key, value in weights(trainer).items()}

    assert all((change == 0).all() for change in step_at(0.0).values())
    changes = [
        max(float(change.abs().max()) for change in step_at(rate).values()) for rate in (1e-4, 1e-2)
    ]
    assert changes[1] / changes[0] == pytest.approx(100, rel=0.5)
    assert trainer.steps.replayed == 5


def test_every_replay_draws_random_numbers_of_its_own(make_replaying, monkeypatch):
    monkeypatch.setattr("gsn.training.loop.set_rates", lambda *_: None)
    trainer = make_replaying(dropout=0.5)
    for group in trainer.optimiser.param_groups:
        group["lr"].fill_(0.0)  # so that weights and batch stay: dropout alone makes a difference
        for weight in group["params"]:  # which begin with adding nothing to what the views show
            weight.data.add_(0.3 * torch.randn_like(weight))
    batch = trainer.batches.take()
    trainer.batches.take = lambda: batch
    state = torch.cuda.get_rng_state(CUDA)
    first = losses(trainer, 3)
    torch.cuda.set_rng_state(state, CUDA)
    torch.testing.assert_close(losses(trainer, 3), first, rtol=1e-3, atol=0)
    assert first.max() > 1.01 * first.min()


def test_parts_of_a_step_outlive_the_steps_that_follow(make_trainer):
    trainer = make_trainer()
    losses(trainer, 8)
    parts, copies = [], []
    for _ in range(6):
        parts.append(trainer.take_step()[0])
        torch.cuda.synchronize()
        copies.append({name: float(value) for name, value in parts[-1].items()})
    assert [{name: float(value) for name, value in p.items()} for p in parts] == copies
    assert len({copy["loss"] for copy in copies}) == 6


def test_a_killed_run_ends_as_an_undisturbed_one(make_trainer, tmp_path):
    """Dropout included; up to the order in which a GPU sums."""
    settings = {"dropout": 0.1, "checkpoint_every": 7}
    whole = make_trainer(max_steps=14, **settings)
    train(whole, tmp_path / "whole.pt", lambda *_: None)
    train(make_trainer(max_steps=7, **settings), tmp_path / "model.pt", lambda *_: None)
    resumed = make_trainer(max_steps=14, start=9, **settings)
    train(resumed, tmp_path / "model.pt", lambda *_: None)
    assert whole.steps.replayed == 10
    assert resumed.steps.replayed > 0
    got, expected = (torch.tensor([row["loss"] for _, row in t.history]) for t in (resumed, whole))
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0)


def test_a_restored_run_is_replayed_with_the_tensors_of_the_optimiser_that_it_then_has(
    make_trainer, tmp_path
):
    trainer = make_trainer()
    losses(trainer, 8)
    trainer.snapshot().save(path := tmp_path / "model.pt")
    rates = [group["lr"] for group in trainer.optimiser.param_groups]
    later = losses(trainer, 8)
    trainer.restore(load_checkpoint(path))
    assert all(g["lr"] is r for g, r in zip(trainer.optimiser.param_groups, rates, strict=True))
    torch.testing.assert_close(losses(trainer, 8), later, rtol=0.02, atol=0)
    counts = {float(moments["step"]) for moments in trainer.optimiser.state.values()}
    assert counts == {16}


def test_a_recording_does_not_run_and_a_replay_reads_what_its_input_is_then():
    graphs, x = CudaGraphs(CUDA), torch.zeros(3, device=CUDA)
    ran = torch.zeros((), device=CUDA)

    def work():
        ran.add_(1)
        return {"square": x * x}

    with graphs.in_turn():
        work()
        replay = graphs.record(work)
        assert float(ran) == 1
    results = []
    for value in (2.0, 3.0):
        x.fill_(value)
        with graphs.in_turn():
            results.append(replay()["square"])
    assert float(ran) == 3
    assert [result.tolist() for result in results] == [[4.0] * 3, [9.0] * 3]


def test_after_a_recording_that_fails_work_and_random_numbers_go_on():
    graphs = CudaGraphs(CUDA)

    def work():
        torch.rand(5, device=CUDA)
        raise RuntimeError("not to be recorded")

    with graphs.in_turn():
        with pytest.raises(RuntimeError, match="not to be recorded"):
            graphs.record(work)
        drawn = torch.rand(5, device=CUDA)
    assert torch.cuda.current_stream(CUDA) == torch.cuda.default_stream(CUDA)
    assert drawn.unique().numel() == 5
