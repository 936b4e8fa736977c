import itertools
import logging
import math
import shutil

import pytest
import torch

from gsn.model.checkpoint import load_checkpoint, load_stage_one
from gsn.training.captured_steps import CapturedSteps
from gsn.training.loop import Trainer, batch_loss, train
from gsn.training.losses import total_loss
from gsn.training.origin import Origin
from gsn.training.residence import Residence

SMALL = {"depth": 1, "samples": 4, "dropout": 0.1}
ORIGIN = Origin("run", {"basis.npz": "b"}, ["attic"])


class Killed(Exception):
    """Stands for a kill of the process."""


@pytest.fixture(scope="module")
def run(make_scene, make_model, make_training):
    """Train in a process of its own, as it were: everything is built anew each time.

    The weights start from seed `start`, so that a run that goes on cannot have them from there.
    """

    def build(path, start=0, origin=ORIGIN, kill_at=None, channels=None, **changes):
        scenes = [make_scene(name, channels=channels, size=(20, 20)) for name in ("one", "two")]
        rows = {}

        def on_row(step, row):
            if step == kill_at:
                raise Killed
            rows[step] = row

        model = make_model(channels, seed=start, **SMALL)
        trainer = Trainer(model, scenes, make_training(**changes), origin)
        train(trainer, path, on_row)
        return trainer, rows, path

    return build


@pytest.fixture(scope="module")
def stage_one(run, tmp_path_factory):
    """A run of six steps that nothing disturbed."""
    return run(tmp_path_factory.mktemp("stage_one") / "model.pt")


@pytest.fixture(scope="module")
def stage_two(run, tmp_path_factory):
    """The same with features."""
    return run(tmp_path_factory.mktemp("stage_two") / "model.pt", channels=4)


def weights(trainer):
    return trainer.model.state_dict()


def assert_same(first, second):
    assert weights(first[0]).keys() == weights(second[0]).keys()
    for key, value in weights(first[0]).items():
        assert torch.equal(value, weights(second[0])[key]), key
    assert first[1] == second[1]


@pytest.mark.parametrize(("channels", "whole"), [(None, "stage_one"), (4, "stage_two")])
def test_a_killed_run_ends_as_an_undisturbed_one(run, tmp_path, request, channels, whole):
    path = tmp_path / "model.pt"
    with pytest.raises(Killed):
        run(path, channels=channels, kill_at=5)
    assert load_checkpoint(path).step == 4
    assert list(tmp_path.iterdir()) == [path]
    assert_same(run(path, channels=channels, start=9), request.getfixturevalue(whole))


def test_raising_max_steps_goes_on_as_if_it_had_been_so_from_the_start(run, tmp_path):
    settings = {"log_every": 2, "checkpoint_every": 2}
    undisturbed = run(tmp_path / "whole.pt", max_steps=8, **settings)
    run(tmp_path / "model.pt", max_steps=5, **settings)  # ends between two points of the curves
    assert_same(run(tmp_path / "model.pt", max_steps=8, start=9, **settings), undisturbed)


def test_a_finished_run_is_not_trained_again(run, stage_one):
    path = stage_one[2]
    before = path.stat().st_mtime_ns
    assert_same(run(path, start=9), stage_one)
    assert path.stat().st_mtime_ns == before


def test_a_run_of_another_origin_starts_anew(run, tmp_path, caplog, stage_one):
    path = tmp_path / "model.pt"
    run(path, seed=1, max_steps=2)
    with caplog.at_level(logging.INFO):
        other = run(path, origin=Origin("other"))
    assert "made by other settings, data or code" in caplog.text
    assert_same(other, stage_one)


def test_a_run_beyond_max_steps_starts_anew(run, tmp_path, caplog, stage_one):
    path = tmp_path / "model.pt"
    shutil.copy(stage_one[2], path)
    with caplog.at_level(logging.INFO):
        short = run(path, max_steps=2)
    assert "already beyond max_steps" in caplog.text
    assert load_checkpoint(path).step == 2
    assert_same(short, run(tmp_path / "fresh.pt", max_steps=2))


@pytest.mark.parametrize("keep", [0, 1000])
def test_a_damaged_checkpoint_is_replaced_with_a_warning(run, tmp_path, caplog, stage_one, keep):
    path = tmp_path / "model.pt"
    path.write_bytes(stage_one[2].read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        assert_same(run(path), stage_one)
    assert "model.pt: not a model file of this version, or cut short" in caplog.text
    assert "it is replaced" in caplog.text
    assert load_checkpoint(path).step == 6


def test_equal_settings_give_equal_weights_and_another_seed_gives_others(run, tmp_path, stage_one):
    assert_same(run(tmp_path / "b.pt"), stage_one)
    other = weights(run(tmp_path / "c.pt", seed=1)[0])
    assert not torch.equal(
        other["renderer.rgb.weight"], weights(stage_one[0])["renderer.rgb.weight"]
    )


def test_every_part_of_the_model_moves(stage_two, make_model):
    before = make_model(4, seed=0, **SMALL).state_dict()
    for part in ("encoder.out", "renderer.embed.0", "feature_head.output"):
        assert not torch.equal(weights(stage_two[0])[f"{part}.weight"], before[f"{part}.weight"])


def test_points_of_the_curves_are_means_of_the_steps_since_the_last(run, tmp_path, stage_one):
    single = stage_one[1]
    means = run(tmp_path / "model.pt", log_every=3, checkpoint_every=3)[1]
    assert list(single) == [1, 2, 3, 4, 5, 6]
    assert list(means) == [3, 6]
    for end in (3, 6):
        for name in ("loss", "psnr_db"):
            by_hand = sum(single[step][name] for step in range(end - 2, end + 1)) / 3
            assert means[end][name] == pytest.approx(by_hand, rel=1e-5)


def test_stage_two_shows_the_cosine_of_the_features(stage_one, stage_two):
    assert set(stage_two[1][6]) == {"loss", "psnr_db", "feature_cosine"}
    assert set(stage_one[1][6]) == {"loss", "psnr_db"}


def test_the_checkpoint_says_what_the_weights_have_seen(stage_two):
    trainer, rows, path = stage_two
    found = load_checkpoint(path)
    assert found.train_scenes == ["attic", "one", "two"]
    assert found.basis_sha256 == {"basis.npz": "b"}
    assert (found.step, found.feature_channels) == (6, 4)
    assert found.model_config == trainer.model.config
    assert dict(found.training["history"]) == rows
    built = found.build_model(torch.device("cpu")).state_dict()
    assert all(torch.equal(value, built[key]) for key, value in weights(trainer).items())


def test_a_step_lowers_the_loss_of_its_own_batch(make_scene, make_model, make_training):
    scenes = [make_scene(channels=None)]
    trainer = Trainer(make_model(), scenes, make_training(), ORIGIN)
    trainer.batches.draw_ahead()
    state = trainer.batches.state()
    batch = trainer.batches.take()
    trainer.batches.restore(state)  # so that the step draws this very batch again

    def loss():
        with torch.no_grad():
            return float(batch_loss(trainer.model, batch, trainer.config.loss)[0])

    before = loss()
    parts, n_rays = trainer.take_step()
    assert float(parts["loss"]) == pytest.approx(before, rel=1e-5)
    assert n_rays == len(batch.rays)
    assert loss() < before


def test_each_step_has_the_rate_of_its_schedule(make_scene, make_model, make_training):
    scenes = [make_scene(channels=None)]
    trainer = Trainer(make_model(), scenes, make_training(), ORIGIN)
    rates = []
    for _ in range(7):
        trainer.take_step()
        rates.append(trainer.optimiser.param_groups[0]["lr"])
    # Two steps of warmup to 1e-3, halved after each three steps.
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3, 5e-4, 5e-4, 5e-4, 2.5e-4])


def test_stage_one_goes_into_stage_two_with_a_fresh_head_and_optimiser(
    stage_one, make_scene, make_model, make_training
):
    model = make_model(4, seed=5, **SMALL)
    fresh_head = {k: v.clone() for k, v in model.feature_head.state_dict().items()}
    first = load_checkpoint(stage_one[2])
    load_stage_one(model, first)
    trainer = Trainer(model, [make_scene()], make_training(), Origin("second"))
    assert trainer.step == 0
    assert trainer.optimiser.state_dict()["state"] == {}
    for key, value in weights(trainer).items():
        expected = fresh_head.get(key.removeprefix("feature_head."), first.weights.get(key))
        assert torch.equal(value, expected), key


@pytest.fixture
def spoil_losses(monkeypatch):
    """Return what makes the loss of batches with these numbers (from 0) no number."""

    def spoil(is_spoilt):
        drawn = itertools.count()

        def loss(*args):
            value, parts = total_loss(*args)
            return (value * torch.nan if is_spoilt(next(drawn)) else value), parts

        monkeypatch.setattr("gsn.training.loop.total_loss", loss)

    return spoil


def test_a_step_without_a_finite_gradient_changes_nothing(
    make_scene, make_model, make_training, spoil_losses
):
    spoil_losses(lambda number: number == 1)
    trainer = Trainer(make_model(), [make_scene(channels=None)], make_training(), ORIGIN)

    def everything():
        moments = trainer.optimiser.state_dict()["state"]
        return [*weights(trainer).values(), *(x for m in moments.values() for x in m.values())]

    states = []
    for _ in range(3):
        trainer.take_step()
        states.append([value.clone() for value in everything()])
    assert all(map(torch.equal, states[0], states[1]))
    assert not all(map(torch.equal, states[1], states[2]))
    assert trainer.step == 3
    assert {int(moments["step"]) for moments in trainer.optimiser.state.values()} == {2}


def test_steps_left_out_are_told_of_and_count_in_no_mean(run, tmp_path, caplog, spoil_losses):
    settings = {"max_steps": 8, "log_every": 4, "checkpoint_every": 4}
    plain = run(tmp_path / "plain.pt", **(settings | {"log_every": 1}))[1]
    spoil_losses(lambda number: number in (2, 3))
    trainer, rows, _ = run(tmp_path / "model.pt", **settings)
    assert trainer.step == 8
    # Until the third step the runs are the same; steps 3 and 4 show nothing.
    assert rows[4]["loss"] == pytest.approx((plain[1]["loss"] + plain[2]["loss"]) / 2)
    assert all(math.isfinite(value) for value in rows[8].values())
    assert "steps 1 to 4: 2 of 4 had no finite gradient and were left out" in caplog.text
    assert "steps 5 to 8" not in caplog.text
    assert all(weight.isfinite().all() for weight in weights(trainer).values())


def test_a_point_whose_steps_are_all_left_out_is_missing(run, tmp_path, spoil_losses):
    spoil_losses(lambda number: number == 2)
    assert list(run(tmp_path / "model.pt")[1]) == [1, 2, 4, 5, 6]


def test_weights_that_have_diverged_stop_the_run_and_keep_the_checkpoint(
    run, tmp_path, spoil_losses
):
    spoil_losses(lambda number: number >= 4)
    settings = {"checkpoint_every": 4, "log_every": 2}
    sound = weights(run(tmp_path / "sound.pt", max_steps=4, **settings)[0])
    spoil_losses(lambda number: number >= 4)
    with pytest.raises(ValueError, match=r"step 14: 10 steps in a row had no finite gradient"):
        run(tmp_path / "model.pt", max_steps=40, **settings)
    found = load_checkpoint(tmp_path / "model.pt")
    assert found.step == 12
    assert all(torch.equal(value, sound[key]) for key, value in found.weights.items())


def test_steps_left_out_before_a_kill_count_after_it(run, tmp_path, spoil_losses):
    settings = {"checkpoint_every": 2, "log_every": 2, "max_steps": 40}
    spoil_losses(lambda number: number >= 3)
    with pytest.raises(ValueError, match=r"step 14: 11 steps in a row"):
        run(tmp_path / "whole.pt", **settings)
    spoil_losses(lambda number: number >= 3)
    run(tmp_path / "model.pt", **(settings | {"max_steps": 8}))
    spoil_losses(lambda _: True)
    with pytest.raises(ValueError, match=r"step 14: 11 steps in a row"):
        run(tmp_path / "model.pt", **settings)


def test_a_run_that_ends_between_two_points_is_checked_too(run, tmp_path, spoil_losses):
    spoil_losses(lambda _: True)
    with pytest.raises(ValueError, match=r"step 12: 12 steps in a row"):
        run(tmp_path / "model.pt", max_steps=12, log_every=50, checkpoint_every=50)
    assert not (tmp_path / "model.pt").exists()


def test_a_run_that_learnt_from_a_scene_to_stay_unseen_does_not_go_on(
    make_scene, make_model, make_training, stage_one, tmp_path
):
    path = tmp_path / "model.pt"
    shutil.copy(stage_one[2], path)
    trainer = Trainer(make_model(None, **SMALL), [make_scene()], make_training(max_steps=9), ORIGIN)
    with pytest.raises(ValueError, match=r"model\.pt: has learnt from attic, one, which must"):
        train(trainer, path, lambda *_: None, unseen=["one", "attic", "loft"])


@pytest.mark.gpu
@pytest.mark.parametrize("replayed", [True, False])
@pytest.mark.parametrize("limit_bytes", [None, 0])
def test_a_step_on_a_gpu_never_waits_for_it(
    make_scene, make_model, make_training, limit_bytes, replayed
):
    device = torch.device("cuda:0")
    scenes = [Residence(device, limit_bytes).place(make_scene())]
    training = make_training(batch={"source_views_spread": 0})
    trainer = Trainer(make_model(4).to(device), scenes, training, ORIGIN)
    if not replayed:
        trainer.steps = CapturedSteps(trainer.optimiser, None)
    for _ in range(4):  # memory is asked for, libraries are loaded, the step is recorded
        trainer.take_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.take_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.steps.replayed == (3 if replayed else 0)
    assert all(value.isfinite() for value in trainer.sums.values())
