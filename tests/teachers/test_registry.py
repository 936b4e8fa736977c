import functools

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from gsn.fingerprint import sha256_of_settings
from gsn.teachers import TEACHERS, load_teacher, sam, timm_entry
from gsn.teachers.dino import DINO
from gsn.teachers.dinov2 import DINOV2
from gsn.teachers.dinov3 import DINOV3
from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from gsn.teachers.sam import SAM

CPU = torch.device("cpu")
VITS = DINO | DINOV2 | DINOV3
LICENCES = {"Apache-2.0": "apache-2.0", "DINOv3 License": "dinov3-license"}  # ours, timm's


@functools.cache
def create(name):
    with torch.device("meta"):  # no values, so no time
        if name in SAM:
            return sam.create_sam(from_hub=False)
        timm_name = TEACHERS[name].card.weights_from.removeprefix("timm/")
        return timm_entry.create_vit(timm_name, from_hub=False)


@pytest.mark.parametrize("name", VITS | SAM)
def test_every_card_tells_the_network(name):
    card, network = TEACHERS[name].card, create(name)
    settings = network.pretrained_cfg
    assert card.weights_from == settings["hf_hub_id"]
    assert card.parameters == sum(value.numel() for value in network.parameters())
    assert card.channels == network.num_features
    assert network.patch_embed.patch_size == (card.patch_px, card.patch_px)
    assert LICENCES[card.licence] == settings["license"]
    assert (tuple(settings["mean"]), tuple(settings["std"])) == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("name", VITS)
def test_norms_have_the_eps_of_training_and_registers_are_where_the_name_says(name):
    network = create(name)
    assert network.norm.eps == network.blocks[0].norm1.eps == (1e-5 if name in DINOV3 else 1e-6)
    registers = 4 if name in DINOV3 or name.endswith("_reg") else 0
    assert network.num_prefix_tokens == 1 + registers


def test_unknown_names_are_answered_with_the_known_ones(teacher_config):
    with pytest.raises(ValueError, match=r"'dino9'; known: .*dino_vitb16, dino_vitb8, dino_vits16"):
        load_teacher(teacher_config("dino9"), CPU)


@pytest.mark.parametrize(
    ("name", "timm_name", "file"),
    [
        ("dino_vitb8", "vit_base_patch8_224.dino",
         "dino_vitbase8_pretrain.pth from https://dl.fbaipublicfiles.com/dino/"
         "dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth"),
        ("dinov2_vitg14_reg", "vit_giant_patch14_reg4_dinov2.lvd142m",
         "dinov2_vitg14_reg4_pretrain.pth from https://dl.fbaipublicfiles.com/dinov2/"
         "dinov2_vitg14/dinov2_vitg14_reg4_pretrain.pth"),
        ("dinov3_vits16plus", "vit_small_plus_patch16_dinov3.lvd1689m",
         "dinov3_vits16plus_pretrain_lvd1689m-*.pth from https://ai.meta.com/"),
        ("sam_vitb16", "samvit_base_patch16.sa1b",
         "sam_vit_b_01ec64.pth from https://dl.fbaipublicfiles.com/segment_anything/"),
    ],
)  # fmt: skip
def test_without_network_one_error_says_which_file_to_get(
    monkeypatch, teacher_config, name, timm_name, file
):
    def offline(*arguments, **keywords):
        assert arguments[-1] is True  # from the hub
        raise LocalEntryNotFoundError("no connection, nothing in the local cache")

    monkeypatch.setattr(timm_entry, "create_vit", offline)
    monkeypatch.setattr(sam, "create_sam", offline)
    with pytest.raises(FileNotFoundError) as caught:
        load_teacher(teacher_config(name, weights="hub"), CPU)
    message = str(caught.value)
    assert message.startswith(f"teacher {name!r}: the hub gave no weights")
    assert f"get {file}" in message
    assert f"model.safetensors from https://huggingface.co/timm/{timm_name}" in message
    assert "put it into data/weights/ and give its path as `weights`" in message


def test_hub_weights_are_asked_for_by_timms_name_and_count_as_trained(
    monkeypatch, randomise, teacher_config
):
    asked, small = [], TEACHERS["dino_vits16"].card.weights_from.removeprefix("timm/")
    network = randomise(timm_entry.create_vit(small, from_hub=False))
    monkeypatch.setattr(timm_entry, "create_vit", lambda *args: asked.append(args) or network)
    teacher = load_teacher(teacher_config("dino_vits16", weights="hub"), CPU)
    assert asked == [("vit_small_patch16_224.dino", True)]
    assert teacher.trained
    assert teacher.fingerprint["weights"]["source"] == "hub"


def test_options_of_this_family_change_the_fingerprint_and_those_of_others_do_not(teacher_config):
    def fingerprint(**changes):
        config = teacher_config("dino_vits16", **changes)
        return sha256_of_settings(load_teacher(config, CPU).fingerprint)

    plain = fingerprint()
    assert fingerprint(layers=(3,), facet="key", stride_px=8, long_side_px=64) != plain
    assert fingerprint(mode="windows", window_px=(64,), prompts=("a chair",)) == plain


def test_the_fingerprint_names_the_code_that_makes_the_maps(teacher_config):
    fingerprint = load_teacher(teacher_config("dino_vits16"), CPU).fingerprint
    wanted = {"DINO", "entry", "preprocessing", "vision_transformer", "weights"}
    assert fingerprint["code"].keys() == wanted
    assert fingerprint["timm"]
