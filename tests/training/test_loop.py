import itertools
import logging
import math
import shutil

import pytest
import torch

from gsn.model.checkpoint import load_checkpoint, load_stage_one
from gsn.training.batches import draw_batch
from gsn.training.loop import Trainer, train
from gsn.training.losses import total_loss
from gsn.training.origin import Origin

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
    assert "model.pt: not a readable model file" in caplog.text
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
    generator = torch.Generator().manual_seed(0)
    batch = draw_batch(scenes, trainer.model, trainer.config.batch, generator)

    def loss():
        with torch.no_grad():
            sources = batch.scene.encode(trainer.model, batch.source_views)
            rgb = trainer.model(sources, batch.rays, batch.depths).rgb
        return float((rgb - batch.rgb).square().mean())

    before = loss()
    parts, n_rays = trainer.take_step()
    # The first draw of the trainer's own generator is this very batch.
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


def test_a_batch_without_a_finite_gradient_is_left_out(run, tmp_path, caplog, spoil_losses):
    spoil_losses(lambda number: number == 2)
    trainer, rows, _ = run(tmp_path / "model.pt")
    assert trainer.step == trainer.config.max_steps
    assert all(weight.isfinite().all() for weight in weights(trainer).values())
    assert all(math.isfinite(value) for row in rows.values() for value in row.values())
    assert "step 3: a batch of " in caplog.text


def test_weights_that_have_diverged_stop_the_run_and_keep_the_checkpoint(
    run, tmp_path, spoil_losses
):
    spoil_losses(lambda number: number >= 4)
    with pytest.raises(ValueError, match=r"step 5: 10 batches in a row had no finite gradient"):
        run(tmp_path / "model.pt", checkpoint_every=2, log_every=2)
    found = load_checkpoint(tmp_path / "model.pt")
    assert found.step == 4
    assert all(weight.isfinite().all() for weight in found.weights.values())


def test_a_run_that_learnt_from_a_scene_to_stay_unseen_does_not_go_on(
    make_scene, make_model, make_training, stage_one, tmp_path
):
    path = tmp_path / "model.pt"
    shutil.copy(stage_one[2], path)
    trainer = Trainer(make_model(None, **SMALL), [make_scene()], make_training(max_steps=9), ORIGIN)
    with pytest.raises(ValueError, match=r"model\.pt: has learnt from attic, one, which must"):
        train(trainer, path, lambda *_: None, unseen=["one", "attic", "loft"])
