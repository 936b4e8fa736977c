"""The CLIP and SigLIP networks that open_clip carries.

CLIP: Radford et al. 2021 (arXiv:2103.00020); SigLIP: Zhai et al. 2023 (arXiv:2303.15343);
SigLIP 2: Tschannen et al. 2025 (arXiv:2502.14786). Weights: from the hub, from a file with
open_clip's names for the tensors, or untrained from a seed. OpenAI's own archives hold code, not
weights alone, and are refused; the variants named `openai` have the same weights as tensors.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gsn.fingerprint import sha256_of_code
from gsn.teachers import weights as weights_module
from gsn.teachers.clip_teacher import ClipTeacher, Tokenize, import_open_clip
from gsn.teachers.teacher import Teacher, TeacherCard, TeacherConfig, TeacherEntry
from gsn.teachers.weights import build_network

HUB_FILE = "open_clip_model.safetensors"
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # kept among OpenAI's tensors


@dataclass(frozen=True)
class ClipVariant:
    """One of the published networks, as open_clip names it."""

    architecture: str
    tag: str  # of the trained weights
    repository: str  # on the hub
    card: TeacherCard


def _variant(
    architecture: str,
    tag: str,
    repository: str,
    sizes: tuple[int, int, int],  # channels, patch, parameters of the image tower
    family: str = "CLIP",
    licence: str = "MIT",
) -> ClipVariant:
    card = TeacherCard(family, *sizes, licence, f"huggingface.co/{repository}")
    return ClipVariant(architecture, tag, repository, card)


def _siglip(architecture: str, sizes: tuple[int, int, int], family: str) -> ClipVariant:
    return _variant(architecture, "webli", f"timm/{architecture}", sizes, family, "Apache-2.0")


VIT_B32 = (512, 32, 87_849_216)
VIT_B16 = (512, 16, 86_192_640)
VIT_L14 = (768, 14, 303_966_208)
SIGLIP_B16 = (768, 16, 92_884_224)
SIGLIP_SO400M14 = (1152, 14, 427_680_704)
CLIP_VARIANTS = {
    "clip_vitb32": _variant(
        "ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", VIT_B32
    ),
    "clip_vitb16": _variant(  # the published GSN's
        "ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", VIT_B16
    ),
    "clip_vitl14": _variant(
        "ViT-L-14", "laion2b_s32b_b82k", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", VIT_L14
    ),
    "clip_vitb32_openai": _variant(
        "ViT-B-32", "openai", "timm/vit_base_patch32_clip_224.openai", VIT_B32
    ),
    "clip_vitb16_openai": _variant(
        "ViT-B-16", "openai", "timm/vit_base_patch16_clip_224.openai", VIT_B16
    ),
    "clip_vitl14_openai": _variant(
        "ViT-L-14", "openai", "timm/vit_large_patch14_clip_224.openai", VIT_L14
    ),
    "siglip_vitb16": _siglip("ViT-B-16-SigLIP", SIGLIP_B16, "SigLIP"),
    "siglip_so400m14": _siglip("ViT-SO400M-14-SigLIP", SIGLIP_SO400M14, "SigLIP"),
    "siglip2_vitb16": _siglip("ViT-B-16-SigLIP2", SIGLIP_B16, "SigLIP 2"),
    "siglip2_so400m14": _siglip("ViT-SO400M-14-SigLIP2", SIGLIP_SO400M14, "SigLIP 2"),
}


def build_clip(config: TeacherConfig, device: torch.device) -> Teacher:
    """Build one of `CLIP_VARIANTS`.

    Raises:
        ValueError: The weights file does not fit the network.
        FileNotFoundError: The weights are neither on this machine nor within reach.
    """
    variant = CLIP_VARIANTS[config.name]
    trained = import_open_clip().get_pretrained_cfg(variant.architecture, variant.tag)
    network, source = build_network(
        config,
        functools.partial(_create, variant, bool(trained.get("quick_gelu"))),
        f"{HUB_FILE} from {variant.card.weights_from}",
        _own_names,
    )
    code = {
        "clip": sha256_of_code(sys.modules[__name__]),
        "weights": sha256_of_code(weights_module),
    }
    return ClipTeacher(
        config.name,
        network,
        lazy_tokenizer(config.name, variant),
        tuple(trained["mean"]),
        tuple(trained["std"]),
        source,
        config,
        device,
        code,
    )


CLIP = {name: TeacherEntry(variant.card, build_clip) for name, variant in CLIP_VARIANTS.items()}


def _create(variant: ClipVariant, quick_gelu: bool, from_hub: bool) -> Any:  # noqa: ANN401
    open_clip = import_open_clip()
    if from_hub:
        return open_clip.create_model(
            variant.architecture, pretrained=variant.tag, force_quick_gelu=quick_gelu
        )
    # Without weights open_clip.create_model would warn of random ones, also before a file is read.
    settings = open_clip.get_model_config(variant.architecture)
    custom_text = settings.pop("custom_text", False)
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    return kind(**settings, quick_gelu=quick_gelu)


def _own_names(weights: dict[str, Tensor], network: Any) -> Mapping[str, Tensor]:  # noqa: ANN401
    """Leave out what older files hold beside weights, and agree on the shape of single numbers."""
    wanted = network.state_dict()
    found = {}
    for name, value in weights.items():
        beside = name in NOT_WEIGHTS or name.endswith("position_ids")
        if name not in wanted and beside:
            continue
        is_number = name in wanted and value.numel() == wanted[name].numel() == 1
        found[name] = value.reshape(wanted[name].shape) if is_number else value
    return found


def lazy_tokenizer(teacher: str, variant: ClipVariant) -> Tokenize:
    """Return a tokenizer that is loaded when first used.

    CLIP's is part of open_clip. SigLIP's comes from the hub, through the package transformers.
    """

    @functools.cache
    def load() -> Any:  # noqa: ANN401
        try:
            return import_open_clip().get_tokenizer(variant.architecture)
        except ImportError as error:
            raise ValueError(
                f"teacher {teacher!r}: its tokenizer needs the package transformers: run "
                "`pip install transformers`, or leave `prompts` empty"
            ) from error
        except Exception as error:  # the kinds depend on how the network is missing
            raise FileNotFoundError(
                f"teacher {teacher!r}: the hub gave no tokenizer ({type(error).__name__}): get "
                f"the files tokenizer* of {variant.card.weights_from} into the cache of the hub "
                "on a machine with network, or leave `prompts` empty"
            ) from error

    def tokenize(texts: list[str]) -> Tensor:
        tokens: Tensor = load()(texts)
        return tokens

    return tokenize
