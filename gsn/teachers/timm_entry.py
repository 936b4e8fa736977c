"""A line of the registry for a ViT that timm carries: the same for DINO, DINOv2 and DINOv3."""

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from gsn.fingerprint import sha256_of_code
from gsn.teachers.preprocessing import Preprocessing
from gsn.teachers.teacher import Teacher, TeacherCard, TeacherConfig, TeacherEntry
from gsn.teachers.vision_transformer import VisionTransformerTeacher, import_timm
from gsn.teachers.weights import build_network, unchanged

Convert = Callable[[dict[str, Tensor], Any], Mapping[str, Tensor]]


def create_vit(timm_name: str, from_hub: bool) -> Any:  # noqa: ANN401  (timm has no types)
    """Create a ViT without its head that takes images of any size."""
    return import_timm().create_model(
        timm_name, pretrained=from_hub, num_classes=0, dynamic_img_size=True
    )


def timm_entry(
    card: TeacherCard,
    original: str,
    family: ModuleType,
    convert: Convert = unchanged,
) -> TeacherEntry:
    """Return an entry whose teacher is built from the card.

    Args:
        card: Its `weights_from` is `timm/` and timm's name of the network.
        original: The file of the published weights and where to get it, for the offline message.
        family: The module of the family; its code is part of the fingerprint.
        convert: From the names in that file to timm's.
    """
    timm_name = card.weights_from.removeprefix("timm/")

    def build(config: TeacherConfig, device: torch.device) -> Teacher:
        network, weights = build_network(
            config, lambda from_hub: create_vit(timm_name, from_hub), wanted, convert
        )
        settings = network.pretrained_cfg
        preprocessing = Preprocessing(
            tuple(settings["mean"]), tuple(settings["std"]), config.long_side_px
        )
        code = {card.family: sha256_of_code(family), "entry": sha256_of_code(sys.modules[__name__])}
        return VisionTransformerTeacher(
            config.name, network, weights, device, code, preprocessing, config.vit
        )

    wanted = f"{original} (or model.safetensors from https://huggingface.co/timm/{timm_name})"
    return TeacherEntry(card, build)
