"""Small networks of images and texts, and teachers made of them."""

import pytest
import torch

from gsn.teachers.clip_teacher import ClipTeacher, import_open_clip


def _shaken(network):
    """Give every weight, biases too, a value that counts."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        scale = 0.5 if parameter.ndim < 2 else parameter.shape[-1] ** -0.5
        parameter.data += scale * torch.randn(parameter.shape)
    return network.eval().requires_grad_(False)


TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2}


@pytest.fixture(scope="session")
def make_clip():
    """Return what makes a small CLIP: patches of 8 pixels, trained on 32 × 32, 24 channels."""

    def make(**changes):
        vision = {"image_size": 32, "patch_size": 8, "layers": 3, "width": 48, "head_width": 16}
        return _shaken(import_open_clip().CLIP(24, vision | changes, TEXT))

    return make


@pytest.fixture(scope="session")
def make_siglip():
    """Return what makes a small SigLIP: patches of 8 pixels, trained on 32 × 32, 48 channels."""

    def make(projection="none"):
        open_clip = import_open_clip()
        from timm.models.vision_transformer import VisionTransformer

        channels = 48 if projection == "none" else 24
        # Its trunk, the smallest that timm has, gives way to a smaller one with attention pool.
        vision = {"timm_model_name": "test_vit", "image_size": 32, "timm_proj": projection}
        network = open_clip.CustomTextCLIP(channels, vision | {"timm_pool": "avg"}, TEXT)
        network.visual.trunk = VisionTransformer(
            **{"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3},
            **{"class_token": False, "global_pool": "map", "num_classes": 0},
        )
        if projection == "linear":
            network.visual.head = torch.nn.Sequential()
            network.visual.head.add_module("proj", torch.nn.Linear(48, 24))
        return _shaken(network)

    return make


def number_letters(texts):
    """Stand in for a tokenizer: a number a letter, and the end with the largest number."""
    tokens = torch.zeros(len(texts), 8, dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text[:7])] = torch.tensor([ord(letter) % 60 + 1 for letter in text[:7]])
        row[len(text[:7])] = 63
    return tokens


@pytest.fixture(scope="session")
def wrap_clip(teacher_config):
    """Return what makes a teacher of a network, with settings as `teacher_config` takes them."""

    def wrap(network, tokenize=number_letters, code=(), **settings):
        mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
        config = teacher_config("small", **settings)
        weights = {"trained": False, "sha256": "0"}
        return ClipTeacher(
            *("small", network, tokenize, mean, std, weights, config),
            *(torch.device("cpu"), dict(code)),
        )

    return wrap
