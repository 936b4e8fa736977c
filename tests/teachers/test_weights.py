import argparse
import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gsn.teachers.weights import build_network, load_strictly, read_weights, sha256_of_weights


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_a_plain_state_dict_is_read_as_it_is(tmp_path):
    weights = dict(network().state_dict())
    torch.save(weights, tmp_path / "plain.pth")
    save_file(weights, tmp_path / "plain.safetensors")
    assert_same(read_weights(tmp_path / "plain.pth"), weights)
    assert_same(read_weights(tmp_path / "plain.safetensors"), weights)


def test_a_training_checkpoint_gives_its_teacher_without_wrappers_and_head(tmp_path):
    weights, student = dict(network().state_dict()), dict(network(1).state_dict())
    checkpoint = {
        "student": {f"module.backbone.{name}": value for name, value in student.items()},
        "teacher": {f"backbone.{name}": value for name, value in weights.items()}
        | {"head.mlp.0.weight": torch.zeros(2, 2)},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small"),
    }
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    assert_same(read_weights(tmp_path / "checkpoint.pth"), weights)


def test_a_training_checkpoint_without_a_teacher_gives_its_student(tmp_path):
    weights = dict(network().state_dict())
    student = {f"module.backbone.{name}": value for name, value in weights.items()}
    student["module.head.mlp.0.weight"] = torch.zeros(2, 2)
    torch.save({"student": student, "teacher": None, "epoch": 3}, tmp_path / "student.pth")
    assert_same(read_weights(tmp_path / "student.pth"), weights)


class Payload:
    def __reduce__(self):
        return print, ("code from a weights file ran",)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"teacher": Payload()}, tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Payload(), protocol=2))
    for name in ("evil.pth", "evil.pkl"):
        with pytest.raises(ValueError, match=name):
            read_weights(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_files_without_a_state_dict_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such weights file"):
        read_weights(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(ValueError, match=name):
            read_weights(tmp_path / name)
    torch.save({"epoch": 3, "student": {}}, tmp_path / "half.pth")
    with pytest.raises(ValueError, match=r"half\.pth: expected a state dict.*'epoch', 'student'"):
        read_weights(tmp_path / "half.pth")


def test_loading_copies_every_tensor(tmp_path):
    source, target = network(0), network(1)
    load_strictly(target, source.state_dict(), tmp_path)
    assert_same(target.state_dict(), source.state_dict())
    assert sha256_of_weights(source) == sha256_of_weights(target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), r"1 tensors are missing \(0\.bias\)"),
        (lambda w: w.update(extra=torch.zeros(1)), r"1 are unknown \(extra\)"),
        (
            lambda w: w.update({"0.bias": torch.zeros(5)}),
            r"1 have another shape \(0\.bias \(5,\) instead of \(4,\)\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    weights = dict(network().state_dict())
    change(weights)
    target = network(1)
    before = sha256_of_weights(target)
    with pytest.raises(ValueError, match=message):
        load_strictly(target, weights, tmp_path / "w.pth")
    assert sha256_of_weights(target) == before


def test_the_hash_sees_a_change_of_one_value():
    one, other = network(), network()
    with torch.no_grad():
        other[1].bias[0] += 1e-6
    assert sha256_of_weights(one) != sha256_of_weights(other)


def test_a_text_in_place_of_weights_is_refused_by_name(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("hello world")
    with pytest.raises(ValueError, match=r"weights.pth: not a readable file of weights"):
        read_weights(path)


def test_files_are_loaded_through_the_conversion_and_hashed_as_they_lie(tmp_path, teacher_config):
    path, source = tmp_path / "weights.pth", network(0)
    torch.save({f"old.{n}": value for n, value in source.state_dict().items()}, path)
    config = teacher_config("any", weights=str(path))

    def renamed(weights, target):
        assert isinstance(target, nn.Sequential)
        return {name.removeprefix("old."): value for name, value in weights.items()}

    built, described = build_network(config, lambda from_hub: network(1), "a file", renamed)
    assert_same(built.state_dict(), source.state_dict())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert described == {"source": "file", "sha256": digest, "trained": True}
    with pytest.raises(ValueError, match=r"weights\.pth: not the weights of this network"):
        build_network(config, lambda from_hub: network(1), "a file")


def test_seeded_networks_depend_on_the_seed_alone(teacher_config):
    def built(seed):
        config = teacher_config("any", seed=seed)
        return build_network(config, lambda from_hub: nn.Linear(3, 2), "a file")

    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, described = built(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert_same(built(1)[0].state_dict(), one.state_dict())
    assert not torch.equal(built(2)[0].weight, one.weight)
    assert described["seed"] == 1 and described["trained"] is False
    assert not one.weight.requires_grad


@pytest.mark.parametrize("wrapper", ["", "backbone.", "module.", "backbone.module."])
def test_flat_files_with_both_branches_give_the_teacher(tmp_path, wrapper):
    weights, student = dict(network().state_dict()), dict(network(1).state_dict())
    flat = {f"teacher.{wrapper}{name}": value for name, value in weights.items()}
    flat |= {f"student.{wrapper}{name}": value for name, value in student.items()}
    save_file(flat, tmp_path / "flat.safetensors")
    assert_same(read_weights(tmp_path / "flat.safetensors"), weights)


@pytest.mark.parametrize("part", ["state_dict", "model"])
def test_a_state_dict_is_found_in_a_checkpoint(tmp_path, part):
    weights = dict(network().state_dict())
    torch.save({part: weights, "epoch": 3}, tmp_path / "checkpoint.pth")
    assert_same(read_weights(tmp_path / "checkpoint.pth"), weights)


def test_a_missing_file_is_told_before_a_network_is_made(teacher_config, tmp_path):
    def create(from_hub):
        raise AssertionError("made")

    for weights in (str(tmp_path / "none.pth"), str(tmp_path), ""):
        config = teacher_config("dino_vitb8", weights=weights)
        with pytest.raises(FileNotFoundError) as caught:
            build_network(config, create, "b8.pth from afar")
        for part in ("'dino_vitb8'", repr(weights), "get b8.pth from afar", "data/weights/"):
            assert part in str(caught.value)
