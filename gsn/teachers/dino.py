"""The DINO ViTs of Caron et al. 2021 (arXiv:2104.14294), through timm.

timm names their tensors as the original does and sets the LayerNorm eps they were trained with
(1e-6). Weights: from the hub, from a file in the original layout, or untrained from a seed.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gsn.fingerprint import sha256_of_code, sha256_of_file
from gsn.teachers import weights as weights_module
from gsn.teachers.teacher import HUB, SEEDED, Teacher, TeacherConfig
from gsn.teachers.vision_transformer import VisionTransformerTeacher, import_timm
from gsn.teachers.weights import load_strictly, read_weights, sha256_of_weights

ORIGINAL_URL = "https://dl.fbaipublicfiles.com/dino"


@dataclass(frozen=True)
class DinoVariant:
    """One of the published networks."""

    timm_name: str
    original: str  # folder and file of the published weights, below ORIGINAL_URL


def _variant(timm_name: str, stem: str) -> DinoVariant:
    return DinoVariant(f"{timm_name}_224.dino", f"{stem}_pretrain/{stem}_pretrain.pth")


DINO_VARIANTS = {
    "dino_vits16": _variant("vit_small_patch16", "dino_deitsmall16"),
    "dino_vits8": _variant("vit_small_patch8", "dino_deitsmall8"),
    "dino_vitb16": _variant("vit_base_patch16", "dino_vitbase16"),
    "dino_vitb8": _variant("vit_base_patch8", "dino_vitbase8"),
}


def build_dino(config: TeacherConfig, device: torch.device) -> Teacher:
    """Build one of `DINO_VARIANTS`.

    Raises:
        ValueError: The weights file does not fit the network.
        FileNotFoundError: The weights are neither on this machine nor within reach.
    """
    variant = DINO_VARIANTS[config.name]
    source: dict[str, object]
    # A new network draws random numbers, also when trained ones replace them; nobody else's
    # random numbers may depend on that.
    with torch.random.fork_rng(devices=[]):
        if config.weights == SEEDED:
            torch.default_generator.manual_seed(config.seed)  # and no CUDA one
            network = _create(variant, from_hub=False)
            source = {"source": SEEDED, "seed": config.seed, "sha256": sha256_of_weights(network)}
        elif config.weights == HUB:
            network = _from_hub(variant, config)
            source = {"source": HUB, "sha256": sha256_of_weights(network)}
        else:
            path = Path(config.weights)
            network = _create(variant, from_hub=False)
            load_strictly(network, read_weights(path), path)
            source = {"source": "file", "sha256": sha256_of_file(path)}
    source["trained"] = config.weights != SEEDED
    code = {
        "dino": sha256_of_code(sys.modules[__name__]),
        "weights": sha256_of_code(weights_module),
    }
    return VisionTransformerTeacher(config.name, network, source, device, code)


def _create(variant: DinoVariant, *, from_hub: bool) -> Any:  # noqa: ANN401
    return import_timm().create_model(
        variant.timm_name, pretrained=from_hub, num_classes=0, dynamic_img_size=True
    )


def _from_hub(variant: DinoVariant, config: TeacherConfig) -> Any:  # noqa: ANN401
    try:
        return _create(variant, from_hub=True)
    except (OSError, ValueError) as error:
        file = Path(variant.original).name
        raise FileNotFoundError(
            f"teacher {config.name!r}: the hub gave no weights for timm/{variant.timm_name} "
            f"({type(error).__name__}); get {file} from {ORIGINAL_URL}/{variant.original} and "
            f"give its path as `weights` of the teacher, or use {SEEDED!r} for untrained weights"
        ) from error
