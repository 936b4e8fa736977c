import argparse
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gsn.fingerprint import sha256_of_settings
from gsn.teachers import load_teacher
from gsn.teachers.timm_entry import create_vit

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(randomise):
    return randomise(create_vit("vit_small_patch16_224.dino", from_hub=False))


@pytest.fixture(scope="module")
def vits16(teacher_config):
    return load_teacher(teacher_config("dino_vits16"), CPU)


def test_tokens_match_the_original_network(parity_folder, tmp_path, monkeypatch, teacher_config):
    monkeypatch.syspath_prepend(str(parity_folder))
    from dino_weights import build_state_dict

    with safe_open(parity_folder / "dino_vits8_case.safetensors", "pt") as case:
        shapes = json.loads(case.metadata()["shapes"])
        photographs, expected = case.get_tensor("images_rgb_u8"), case.get_tensor("features")
    path = tmp_path / "dino_deitsmall8_pretrain.pth"
    torch.save(build_state_dict(shapes), path)
    teacher = load_teacher(teacher_config("dino_vits8", weights=str(path)), CPU)
    got = teacher(photographs)
    cosine = torch.nn.functional.cosine_similarity(got, expected, dim=-1)
    assert got.shape == (2, *teacher.grid_size(120, 168), teacher.channels) == expected.shape
    assert cosine.mean() >= 0.9999
    assert cosine.min() >= 0.9998
    torch.testing.assert_close(got.norm(dim=-1), expected.norm(dim=-1), rtol=2e-2, atol=0)
    assert teacher.trained


def test_a_wrapped_student_and_a_file_with_a_classifier_give_the_public_forward(
    network, photographs, normalised, tmp_path, teacher_config
):
    weights, images = dict(network.state_dict()), photographs(40, 50)
    student = {f"module.backbone.{name}": value for name, value in weights.items()}
    student["module.head.last_layer.weight_v"] = torch.zeros(2, 2)
    torch.save({"student": student, "args": argparse.Namespace(arch="vit")}, tmp_path / "s.pth")
    head = {"head.weight": torch.zeros(10, 384), "head.bias": torch.zeros(10)}
    save_file(weights | head, tmp_path / "timm.safetensors")
    expected = torch.cat([network.forward_features(normalised(i[:32, :48])) for i in images])
    for name in ("s.pth", "timm.safetensors"):
        teacher = load_teacher(teacher_config("dino_vits16", weights=str(tmp_path / name)), CPU)
        got = teacher(images).flatten(1, 2)
        torch.testing.assert_close(got, expected[:, 1:], rtol=1e-4, atol=1e-4)


def test_seeded_weights_depend_on_the_seed_alone_and_leave_no_trace(
    vits16, photographs, teacher_config
):
    torch.rand(7)
    before = torch.get_rng_state()
    again, other = (load_teacher(teacher_config("dino_vits16", seed=s), CPU) for s in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    images = photographs(40, 50)
    assert torch.equal(vits16(images), again(images))
    assert not torch.allclose(vits16(images), other(images), atol=0.1)
    assert vits16.fingerprint == again.fingerprint
    assert sha256_of_settings(again.fingerprint) != sha256_of_settings(other.fingerprint)
    assert not vits16.trained


def test_grid_of_a_published_photograph(vits16):
    grid = vits16.grid(756, 1008)
    assert (grid.first_px, grid.step_px) == ((7.5, 7.5), (16, 16))  # pixels 0 to 15 first
    assert vits16.grid_size(756, 1008) == (47, 63)  # 756 = 47 · 16 + 4
    assert vits16.channels == 384


def test_weights_of_another_variant_are_refused(network, tmp_path, teacher_config):
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    with pytest.raises(ValueError, match=r"weights\.pth.*pos_embed \(1, 197, 384\) instead of"):
        load_teacher(teacher_config("dino_vits8", weights=str(path)), CPU)


@pytest.mark.gpu
def test_cuda_maps_agree_with_the_cpu(vits16, photographs, teacher_config):
    images = photographs(40, 50)
    on_cuda = load_teacher(teacher_config("dino_vits16"), torch.device("cuda"))
    cosine = torch.nn.functional.cosine_similarity(vits16(images), on_cuda(images).cpu(), dim=-1)
    assert cosine.min() > 0.999
    assert vits16.fingerprint != on_cuda.fingerprint
