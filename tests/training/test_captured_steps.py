import contextlib
import logging
from dataclasses import replace

import pytest
import torch

from gsn.geometry.cell_grid import CellGrid
from gsn.model.checkpoint import load_checkpoint
from gsn.model.sources import TeacherMaps
from gsn.training import captured_steps
from gsn.training.batches import draw_batch
from gsn.training.captured_steps import CapturedSteps, shape_key
from gsn.training.generators import Generators
from gsn.training.loop import Trainer, train
from gsn.training.origin import Origin

N_STEPS = 24
CPU = torch.device("cpu")


class Repeater:
    """Stands for the graphs: what it records reads its inputs from where they were, as theirs."""

    def __init__(self, fails_at=None):
        self.fails_at = fails_at
        self.recorded, self.replayed, self.turns, self.forgotten = 0, 0, 0, 0

    @contextlib.contextmanager
    def in_turn(self):
        self.turns += 1
        yield

    def record(self, work):
        if self.recorded == self.fails_at:
            raise RuntimeError("operation not permitted")
        self.recorded += 1

        def replay():
            self.replayed += 1
            return work()

        return replay

    def forget(self):
        self.forgotten += 1


@pytest.fixture(scope="module")
def make_trainer(make_scene, make_model, make_training):
    def build(recorder, start=0, sizes=((20, 20), (24, 28)), **changes):
        scenes = [make_scene(str(size), size=size) for size in sizes]
        model = make_model(4, seed=start, depth=1, samples=4, dropout=0.1)
        trainer = Trainer(model, scenes, make_training(**changes), Origin("run"))
        trainer.steps = CapturedSteps(trainer.optimiser, recorder)
        return trainer

    return build


@pytest.fixture(scope="module")
def eager(make_trainer):
    return run(make_trainer(None))


def run(trainer, n_steps=N_STEPS):
    """Return the losses of some steps and the weights behind the last."""
    losses = [float(trainer.take_step()[0]["loss"]) for _ in range(n_steps)]
    return losses, trainer.model.state_dict()


def assert_same(first, second):
    assert first[0] == second[0]
    assert all(torch.equal(value, second[1][key]) for key, value in first[1].items())


def test_a_run_that_is_replayed_is_the_run_itself(make_trainer, eager):
    """Scenes of two sizes, two to four views a batch: six shapes; dropout draws as ever."""
    recorder = Repeater()
    assert_same(run(make_trainer(recorder)), eager)
    assert recorder.turns == N_STEPS
    assert 2 < recorder.recorded <= 6
    assert recorder.replayed > recorder.recorded


def test_a_shape_is_recorded_at_its_third_step_which_is_replayed(make_trainer):
    recorder = Repeater()
    trainer = make_trainer(recorder, sizes=((20, 20),), batch={"source_views_spread": 0})
    counts = []
    for _ in range(5):
        trainer.take_step()
        counts.append((recorder.recorded, recorder.replayed))
    assert counts == [(0, 0), (0, 0), (1, 1), (1, 2), (1, 3)]


def test_gradients_are_dropped_before_a_recording_and_after(make_trainer):
    seen = []
    trainer = make_trainer(recorder := Repeater(), batch={"source_views_spread": 0})
    record = recorder.record

    def none():
        return all(weight.grad is None for weight in trainer.model.parameters())

    def look(work):
        seen.append(none())
        replay = record(work)
        for weight in trainer.model.parameters():
            weight.grad = torch.ones_like(weight)  # as a recorded step leaves them
        return lambda: (seen.append(none()), replay())[1]

    recorder.record = look
    run(trainer, 8)
    assert seen[:2] == [True, True]


def test_shapes_beyond_the_limit_run_as_they_are(make_trainer, eager, monkeypatch):
    for limit, recorded in ((0, 0), (3, 2), (99, 4)):  # others are too rare
        monkeypatch.setattr(captured_steps, "MOST_SHAPES", limit)
        assert_same(run(make_trainer(recorder := Repeater())), eager)
        assert recorder.recorded == recorded


def test_a_run_goes_on_where_nothing_can_be_recorded(make_trainer, eager, caplog):
    assert_same(run(make_trainer(recorder := Repeater(fails_at=0))), eager)
    assert recorder.replayed == 0
    assert [record.message for record in caplog.records] == [
        "no step is recorded from here on, training is slower: operation not permitted"
    ]


def test_what_was_recorded_before_a_failure_is_still_replayed(make_trainer, eager, caplog):
    trainer = make_trainer(recorder := Repeater(fails_at=1))
    assert_same(run(trainer), eager)
    assert recorder.replayed > 1
    with caplog.at_level(logging.INFO):
        trainer.steps.log_summary()
    counts = f"{recorder.replayed} of {N_STEPS} steps were replayed; shapes of batches recorded: 1"
    assert caplog.messages[-1] == counts


def test_a_run_that_is_recorded_tells_first_what_it_waits_for(make_trainer, caplog, tmp_path):
    def told(recorder):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            train(make_trainer(recorder, max_steps=2), tmp_path / "model.pt", lambda *_: None)
        return [message for message in caplog.messages if "compiles the kernels" in message]

    assert len(told(Repeater())) == 1
    assert told(Repeater()) == []  # the run is finished
    (tmp_path / "model.pt").unlink()
    assert told(None) == []


def test_after_a_restore_every_shape_is_recorded_anew(make_trainer, eager, tmp_path):
    """The optimiser has other tensors then."""
    first = make_trainer(Repeater())
    losses, _ = run(first, N_STEPS - 10)
    first.snapshot().save(path := tmp_path / "model.pt")
    second = make_trainer(recorder := Repeater(), start=5)
    run(second, 9)
    replayed, recorded = recorder.replayed, recorder.recorded
    assert recorded > 0
    second.restore(load_checkpoint(path))
    assert recorder.forgotten == 1
    second.take_step()
    second.take_step()
    assert (recorder.replayed, recorder.recorded) == (replayed, recorded)
    second.restore(load_checkpoint(path))
    later, weights = run(second, 10)
    assert_same((losses + later, weights), eager)


def test_without_the_kernels_nothing_is_recorded(make_trainer, eager):
    trainer = make_trainer(recorder := Repeater())
    trainer.model.use_kernels = False
    assert_same(run(trainer), eager)
    assert recorder.turns == 0


@pytest.fixture
def drawn(make_scene, make_model, make_training):
    """Return what draws a batch of a shape."""

    def build(seed=0, channels=4, samples=4, **batch):
        config = make_training(batch={"source_views_spread": 0} | batch).batch
        model = make_model(channels, samples=samples)
        generators = Generators.seeded(seed, CPU)
        return draw_batch([make_scene(channels=channels)], model, config, generators)

    return build


def test_batches_of_other_numbers_are_of_one_shape(drawn):
    assert shape_key(drawn(seed=1)) == shape_key(drawn(seed=0))
    assert hash(shape_key(drawn(seed=1))) == hash(shape_key(drawn(seed=0)))


def test_whatever_a_step_depends_on_makes_another_shape(drawn, make_scene):
    batch = drawn()
    maps = batch.teacher.values
    others = [
        drawn(source_views=4, rays=9),  # as many rays
        drawn(rays=13),
        drawn(samples=5),
        drawn(channels=None),
        drawn(channels=8),
        replace(batch, feature=None),
        replace(batch, images=batch.images.float()),
        replace(batch, teacher=TeacherMaps(maps, CellGrid((0.5, 1.5), (4.0, 4.0)))),
        replace(batch, teacher=TeacherMaps(maps[..., 1:], batch.teacher.grid)),
        replace(batch, cameras=make_scene(size=(24, 29)).cameras[torch.tensor([1, 2, 3])]),
        replace(batch, cameras=make_scene(size=(25, 28)).cameras[torch.tensor([1, 2, 3])]),
    ]
    assert len({shape_key(other) for other in [batch, *others]}) == 1 + len(others)


@pytest.mark.parametrize("channels", [None, 4])
def test_a_copy_holds_the_same_numbers_in_memory_of_its_own(drawn, channels):
    batch = drawn(channels=channels)
    before = [values.clone() for values in batch.tensors]
    copied = batch.copied()
    assert shape_key(copied) == shape_key(batch)
    for one, other in zip(copied.tensors, before, strict=True):
        assert torch.equal(one, other)
        one.copy_(torch.rand(one.shape).to(one.dtype))  # raises where a number stands for several
    assert all(map(torch.equal, batch.tensors, before))
    places = [values.data_ptr() for values in [*batch.tensors, *copied.tensors]]
    assert len(set(places[len(before) :])) == len(before)
    assert not set(places[: len(before)]) & set(places[len(before) :])
