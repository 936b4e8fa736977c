import logging
import os
from pathlib import Path

import pytest
import torch

from gsn.model import checkpoint as checkpoint_code
from gsn.model.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_stage_one

CPU = torch.device("cpu")


def checkpoint_of(model, **fields):
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    channels = model.feature_channels
    return Checkpoint(
        model.config, weights, step=7, train_scenes=["a"], feature_channels=channels, **fields
    )


class Trap:
    """Runs a command where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_everything_comes_back(tmp_path, make_model):
    saved = checkpoint_of(
        make_model(4, width=24),
        basis_sha256={"basis.npz": "b"},
        training={"history": [(5, {"loss": 0.5})], "optimiser": {"state": {0: torch.ones(2)}}},
    )
    saved.save(tmp_path / "model.pt")
    found = load_checkpoint(tmp_path / "model.pt")
    assert found.model_config == saved.model_config
    assert (found.step, found.train_scenes, found.feature_channels) == (7, ["a"], 4)
    assert found.basis_sha256 == {"basis.npz": "b"}
    assert found.training["history"] == [(5, {"loss": 0.5})]
    assert torch.equal(found.training["optimiser"]["state"][0], torch.ones(2))
    assert found.weights.keys() == saved.weights.keys()
    assert all(torch.equal(found.weights[key], saved.weights[key]) for key in saved.weights)


@pytest.mark.parametrize("channels", [None, 4])
def test_the_model_built_has_the_weights_and_does_not_train(make_model, channels):
    model = make_model(channels, dropout=0.5)
    built = checkpoint_of(model).build_model(CPU)
    assert not built.training
    assert (built.feature_head is None) == (channels is None)
    for key, value in model.state_dict().items():
        assert torch.equal(built.state_dict()[key], value)


def test_weights_of_another_model_are_refused(make_model):
    checkpoint = checkpoint_of(make_model())
    checkpoint.weights = make_model(width=24).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        checkpoint.build_model(CPU)
    checkpoint.weights = make_model(depth=1).state_dict()
    with pytest.raises(RuntimeError, match="Missing key"):
        checkpoint.build_model(CPU)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.pt: no such model file"):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_truncated_file_is_refused(tmp_path, make_model, keep):
    path = tmp_path / "model.pt"
    checkpoint_of(make_model()).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.pt: not a model file .* cut short"):
        load_checkpoint(path)


def test_a_flip_of_any_byte_is_found_and_named(tmp_path, make_model):
    path = tmp_path / "model.pt"
    checkpoint_of(make_model()).save(path)
    whole = path.read_bytes()
    for offset in [*range(0, len(whole), len(whole) // 200), len(whole) - 1]:
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << offset % 8
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"model\.pt: "):
            load_checkpoint(path)


def test_the_bytes_of_a_file_do_not_depend_on_its_name(tmp_path, make_model):
    checkpoint = checkpoint_of(make_model())
    checkpoint.save(tmp_path / "a.pt")
    checkpoint.save(tmp_path / "b" / "other.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b" / "other.pt").read_bytes()


def test_pickled_objects_are_refused_and_not_run(tmp_path, seal_again):
    torch.save({"format": 2, "weights": Trap(tmp_path / "sprung")}, tmp_path / "model.pt")
    seal_again(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt: not a readable model file"):
        load_checkpoint(tmp_path / "model.pt")
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "sprung").exists()  # it would have been run


@pytest.mark.parametrize("content", [{"net_coarse": {}, "feature_net": {}}, [1, 2], {"format": 9}])
def test_files_of_another_kind_are_refused(tmp_path, content, seal_again):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"not a model file of this version.*import_reference"):
        load_checkpoint(tmp_path / "model.pt")
    seal_again(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"not a model file of format 2.*import_reference"):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("change", [{"model_config": None}, {"weights": None}, {"mood": "good"}])
def test_files_with_other_fields_than_ours_are_refused(tmp_path, make_model, seal_again, change):
    path = tmp_path / "model.pt"
    checkpoint_of(make_model()).save(path)
    content = torch.load(path, weights_only=True) | change
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    seal_again(path)
    with pytest.raises(ValueError, match=r"model\.pt: not a model file of this version"):
        load_checkpoint(path)


def test_settings_that_no_model_has_are_refused(tmp_path, make_model, seal_again):
    path = tmp_path / "model.pt"
    checkpoint_of(make_model()).save(path)
    content = torch.load(path, weights_only=True)
    content["model_config"]["depth"] = 0
    torch.save(content, path)
    seal_again(path)
    with pytest.raises(ValueError, match=r"(?s)model\.pt: not a model file of this version.*depth"):
        load_checkpoint(path)


def test_a_failed_save_leaves_the_older_file(tmp_path, make_model, monkeypatch):
    path = tmp_path / "model.pt"
    checkpoint_of(make_model()).save(path)
    before = path.read_bytes()

    def run_out_of_space(partial, content):
        partial.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint_code, "write_sealed", run_out_of_space)
    with pytest.raises(OSError, match="no space"):
        checkpoint_of(make_model(seed=1)).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]  # noqa: PTH208


@pytest.mark.parametrize("start_channels", [None, 4])
def test_stage_one_gives_all_but_a_fresh_head_and_says_so(make_model, caplog, start_channels):
    start, model = make_model(start_channels), make_model(4, seed=1)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        load_stage_one(model, checkpoint_of(start))
    assert "step 7; the feature head starts fresh" in caplog.text
    for key, value in model.state_dict().items():
        source = fresh if key.startswith("feature_head.") else start.state_dict()
        assert torch.equal(value, source[key]), key
    assert any(key.startswith("feature_head.") for key in fresh)


def test_stage_one_weights_that_lack_or_add_something_are_refused(make_model):
    lacking = checkpoint_of(make_model())
    del lacking.weights["renderer.rgb.weight"]
    with pytest.raises(ValueError, match=r"missing \['renderer\.rgb\.weight'\]"):
        load_stage_one(make_model(4), lacking)
    adding = checkpoint_of(make_model())
    adding.weights["renderer.mood"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"unknown \['renderer\.mood'\]"):
        load_stage_one(make_model(4), adding)


def test_a_run_that_stopped_on_its_way_is_not_taken_for_finished(make_model):
    path = Path("models/pretrain.pt")

    def of(max_steps, fingerprint="f"):
        training = {"fingerprint": fingerprint, "config": {"max_steps": max_steps}}
        return checkpoint_of(make_model(), training=training)

    of(7).check_finished(path)
    of(8, fingerprint="").check_finished(path)  # ended by a clock
    checkpoint_of(make_model()).check_finished(path)  # imported
    with pytest.raises(CheckpointError, match=r"models/pretrain\.pt: .* step 7 of 8$"):
        of(8).check_finished(path)
