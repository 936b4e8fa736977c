import json

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import safe_open

from gsn.fingerprint import sha256_of_settings
from gsn.teachers import TEACHERS, dino, load_teacher
from gsn.teachers.dino import DINO_VARIANTS, _create
from gsn.teachers.teacher import TeacherConfig

CPU = torch.device("cpu")


def seeded(seed=0, name="dino_vits16", device=CPU):
    return load_teacher(TeacherConfig(name=name, weights="seeded", seed=seed), device)


@pytest.fixture(scope="module")
def vits16():
    return seeded()


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 40, 50, 3), dtype=torch.uint8, generator=generator)


def test_tokens_match_the_original_network(parity_folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(parity_folder))
    from dino_weights import build_state_dict

    with safe_open(parity_folder / "dino_vits8_case.safetensors", "pt") as case:
        shapes = json.loads(case.metadata()["shapes"])
        photographs, expected = case.get_tensor("images_rgb_u8"), case.get_tensor("features")
    path = tmp_path / "dino_deitsmall8_pretrain.pth"
    torch.save(build_state_dict(shapes), path)
    teacher = load_teacher(TeacherConfig(name="dino_vits8", weights=str(path), seed=0), CPU)
    got = teacher(photographs)
    cosine = torch.nn.functional.cosine_similarity(got, expected, dim=-1)
    assert got.shape == (2, *teacher.grid_size(120, 168), teacher.channels) == expected.shape
    assert cosine.mean() >= 0.9999
    assert cosine.min() >= 0.9998
    torch.testing.assert_close(got.norm(dim=-1), expected.norm(dim=-1), rtol=2e-2, atol=0)
    assert teacher.trained


def test_seeded_weights_depend_on_the_seed_alone_and_leave_no_trace(vits16, images):
    torch.rand(7)
    before = torch.get_rng_state()
    again, other = seeded(), seeded(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(vits16(images), again(images))
    assert not torch.allclose(vits16(images), other(images), atol=0.1)
    assert vits16.fingerprint == again.fingerprint
    assert sha256_of_settings(again.fingerprint) != sha256_of_settings(other.fingerprint)
    assert not vits16.trained


def test_pixels_beyond_the_last_whole_patch_change_nothing(vits16, images):
    changed = images.clone()
    changed[:, 32:] = 0  # 40 = 2 · 16 + 8 rows
    changed[:, :, 48:] = 255  # 50 = 3 · 16 + 2 columns
    assert vits16(images).shape == (2, 2, 3, 384)
    assert torch.equal(vits16(images), vits16(changed))


def test_grid_of_a_published_photograph(vits16):
    grid = vits16.grid(756, 1008)
    assert (grid.first_px, grid.step_px) == ((7.5, 7.5), (16, 16))  # pixels 0 to 15 first
    assert vits16.grid_size(756, 1008) == (47, 63)  # 756 = 47 · 16 + 4
    assert vits16.channels == 384


@pytest.mark.parametrize(
    ("name", "patch", "channels"),
    [
        ("dino_vits16", 16, 384),
        ("dino_vits8", 8, 384),
        ("dino_vitb16", 16, 768),
        ("dino_vitb8", 8, 768),
    ],
)
def test_every_name_is_the_network_it_says(name, patch, channels):
    with torch.device("meta"):  # no values, so no time
        network = _create(DINO_VARIANTS[name], from_hub=False)
    assert network.patch_embed.patch_size == (patch, patch)
    assert network.num_features == channels
    assert network.norm.eps == 1e-6
    assert len(network.blocks) == 12
    assert name in TEACHERS


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'dino9'; known: dino_vitb16, dino_vitb8, dino_vits16"):
        seeded(name="dino9")


def test_weights_of_another_variant_are_refused(vits16, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(vits16._vit.state_dict(), path)
    with pytest.raises(ValueError, match=r"weights\.pth.*pos_embed \(1, 197, 384\) instead of"):
        load_teacher(TeacherConfig(name="dino_vits8", weights=str(path), seed=0), CPU)


def test_hub_out_of_reach_says_which_file_to_get(monkeypatch):
    def offline(variant, *, from_hub):
        assert from_hub
        raise LocalEntryNotFoundError("no connection, nothing in the local cache")

    monkeypatch.setattr(dino, "_create", offline)
    with pytest.raises(FileNotFoundError) as caught:
        load_teacher(TeacherConfig(name="dino_vitb8", weights="hub", seed=0), CPU)
    message = str(caught.value)
    assert message.startswith("teacher 'dino_vitb8': the hub gave no weights")
    assert "timm/vit_base_patch8_224.dino" in message
    assert "dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth" in message
    assert "give its path as `weights`" in message


@pytest.mark.gpu
def test_cuda_maps_agree_with_the_cpu(images):
    on_cpu, on_cuda = seeded(), seeded(device=torch.device("cuda"))
    cosine = torch.nn.functional.cosine_similarity(on_cpu(images), on_cuda(images).cpu(), dim=-1)
    assert cosine.min() > 0.999
    assert on_cpu.fingerprint != on_cuda.fingerprint
