import pytest
import torch

from gsn.teachers import load_teacher
from gsn.teachers.dinov3 import to_timm
from gsn.teachers.timm_entry import create_vit
from gsn.teachers.vision_transformer import import_timm
from gsn.teachers.weights import load_strictly

import_timm()
from timm.models.eva import Eva  # noqa: E402

CPU = torch.device("cpu")
SMALL = "vit_small_patch16_dinov3.lvd1689m"


@pytest.fixture(scope="module")
def network(randomise):
    return randomise(create_vit(SMALL, from_hub=False))


def as_published(weights):
    """The state dict under the original's names, from timm's."""
    names = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    names |= {"mlp.fc1_g.": "mlp.w1.", "mlp.fc1_x.": "mlp.w2."}
    gated = any("fc1_g" in name for name in weights)
    original = {"mask_token": torch.ones(1, 384), "rope_embed.periods": torch.ones(16)}
    original["local_cls_norm.weight"] = torch.ones(384)
    for name, value in weights.items():
        if name.endswith("qkv.weight"):
            stem = name.removesuffix("weight")
            original[stem + "bias"] = torch.zeros(len(value))
            original[stem + "bias_mask"] = torch.zeros(len(value))
        for new, old in names.items():
            name = name.replace(new, old)
        original[name.replace("mlp.fc2.", "mlp.w3.") if gated else name] = value
    return original


@pytest.mark.parametrize("layout", ["original", "timm"])
def test_an_original_file_and_one_of_timm_give_the_public_forward(
    network, layout, photographs, normalised, tmp_path, teacher_config
):
    weights, path = network.state_dict(), tmp_path / "weights.pth"
    torch.save(as_published(weights) if layout == "original" else weights, path)
    config = teacher_config("dinov3_vits16", weights=str(path), layers=(-1, 5))
    images = photographs(40, 70)  # 40 = 2 · 16 + 8, 70 = 4 · 16 + 6
    got = load_teacher(config, CPU)(images)
    assert got.shape == (2, 2, 4, 2 * 384)
    for image, rows in zip(images, got.flatten(1, 2), strict=True):
        pixels = normalised(image[:32, :64])
        middle = network.forward_intermediates(
            pixels, indices=[5], norm=True, output_fmt="NLC", intermediates_only=True
        )[0]
        last = network.forward_features(pixels)[:, 5:]  # one class token, four registers
        expected = torch.cat([last, middle], dim=-1)[0]
        torch.testing.assert_close(rows, expected, rtol=1e-3, atol=1e-3)


def test_gated_layers_are_renamed_one_by_one(randomise, tmp_path):
    settings = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}
    settings |= {"num_classes": 0, "use_abs_pos_emb": False, "num_reg_tokens": 4}
    settings |= {"swiglu_mlp": True, "swiglu_align_to": 8, "init_values": 1.0, "qkv_bias": False}
    network, other = (randomise(Eva(**settings), seed=seed) for seed in (0, 1))
    original = as_published(network.state_dict())
    assert "blocks.1.mlp.w2.weight" in original
    load_strictly(other, to_timm(original, other), tmp_path)
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_a_bias_that_the_network_lacks_is_refused_unless_it_is_masked_or_zero(network):
    original = as_published(network.state_dict())
    original["blocks.3.attn.qkv.bias"][7] = 0.125
    assert "blocks.3.attn.qkv.bias" not in to_timm(original, network)  # the mask is zero there
    original["blocks.3.attn.qkv.bias_mask"][:384] = 1
    with pytest.raises(ValueError, match=r"blocks\.3\.attn\.qkv\.bias: expected zeros.*0\.125"):
        to_timm(original, network)
