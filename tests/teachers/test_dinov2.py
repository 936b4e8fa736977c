import pytest
import torch

from gsn.teachers import load_teacher
from gsn.teachers.dinov2 import to_timm
from gsn.teachers.timm_entry import create_vit
from gsn.teachers.vision_transformer import import_timm
from gsn.teachers.weights import load_strictly

import_timm()
from timm.layers import SwiGLUPacked  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402

CPU = torch.device("cpu")
NETWORKS = {
    "dinov2_vits14": "vit_small_patch14_dinov2.lvd142m",
    "dinov2_vits14_reg": "vit_small_patch14_reg4_dinov2.lvd142m",
}


def as_published(weights):
    """The state dict under the original's names, from timm's."""
    original = dict(weights) | {"mask_token": torch.full((1, 384), 3.0)}
    if "reg_token" in weights:
        original["register_tokens"] = original.pop("reg_token")
        # The original adds an entry of the position table to the class token too.
        entry = torch.full((1, 1, 384), 0.25)
        original["cls_token"] = weights["cls_token"] - entry
        original["pos_embed"] = torch.cat([entry, weights["pos_embed"]], dim=1)
    assert original["pos_embed"].shape == (1, 1 + 37 * 37, 384)  # of 518 px
    return original


@pytest.mark.parametrize(
    ("name", "layout"),
    [("dinov2_vits14", "original"), ("dinov2_vits14_reg", "original"), ("dinov2_vits14", "timm")],
)
def test_an_original_file_and_one_of_timm_give_the_public_forward(
    name, layout, randomise, photographs, normalised, tmp_path, teacher_config
):
    network = randomise(create_vit(NETWORKS[name], from_hub=False))
    weights, path = network.state_dict(), tmp_path / "weights.pth"
    torch.save(as_published(weights) if layout == "original" else weights, path)
    teacher = load_teacher(teacher_config(name, weights=str(path), layers=(3, -1)), CPU)
    images = photographs(45, 60)  # 45 = 3 · 14 + 3, 60 = 4 · 14 + 4
    got = teacher(images)
    assert got.shape == (2, 3, 4, 2 * 384)
    assert teacher.trained
    for image, rows in zip(images, got.flatten(1, 2), strict=True):
        pixels = normalised(image[:42, :56])
        middle = network.forward_intermediates(
            pixels, indices=[3], norm=True, output_fmt="NLC", intermediates_only=True
        )[0]
        last = network.forward_features(pixels)[:, network.num_prefix_tokens :]
        expected = torch.cat([middle, last], dim=-1)[0]
        torch.testing.assert_close(rows, expected, rtol=1e-3, atol=1e-3)


def test_the_gated_layers_of_the_giant_are_renamed(randomise, tmp_path):
    settings = {"patch_size": 14, "img_size": 28, "embed_dim": 24, "depth": 2, "num_heads": 2}
    settings |= {"mlp_layer": SwiGLUPacked, "num_classes": 0, "init_values": 1e-5}
    network = randomise(VisionTransformer(**settings))
    original = {
        name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value
        for name, value in network.state_dict().items()
    } | {"mask_token": torch.zeros(1, 24)}
    other = randomise(VisionTransformer(**settings), seed=1)
    load_strictly(other, to_timm(original, other), tmp_path)
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_weights_without_registers_do_not_fit_a_network_with_them(tmp_path):
    with torch.device("meta"):  # names and shapes are enough
        network, other = (create_vit(timm_name, from_hub=False) for timm_name in NETWORKS.values())
    original = as_published({n: torch.empty_like(v) for n, v in network.state_dict().items()})
    with pytest.raises(
        ValueError, match=r"1 tensors are missing \(reg_token\).*pos_embed \(1, 1370"
    ):
        load_strictly(other, to_timm(original, other), tmp_path)
