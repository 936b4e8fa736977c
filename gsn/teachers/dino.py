"""The DINO ViTs of Caron et al. 2021 (arXiv:2104.14294), through timm.

timm names their tensors as the original does and sets the LayerNorm eps they were trained with
(1e-6). A weights file may be the original one or a training checkpoint (`gsn.teachers.weights`).
"""

import sys

from gsn.teachers.teacher import TeacherCard, TeacherEntry
from gsn.teachers.timm_entry import timm_entry

ORIGINAL_URL = "https://dl.fbaipublicfiles.com/dino"


def _entry(
    timm_name: str, stem: str, patch_px: int, channels: int, parameters: int
) -> TeacherEntry:
    card = TeacherCard(
        family="DINO",
        channels=channels,
        patch_px=patch_px,
        parameters=parameters,
        licence="Apache-2.0",
        weights_from=f"timm/{timm_name}_224.dino",
    )
    file = f"{stem}_pretrain.pth"
    original = f"{file} from {ORIGINAL_URL}/{stem}_pretrain/{file}"
    return timm_entry(card, original, sys.modules[__name__])


DINO = {
    "dino_vits16": _entry("vit_small_patch16", "dino_deitsmall16", 16, 384, 21_665_664),
    "dino_vits8": _entry("vit_small_patch8", "dino_deitsmall8", 8, 384, 21_670_272),
    "dino_vitb16": _entry("vit_base_patch16", "dino_vitbase16", 16, 768, 85_798_656),
    "dino_vitb8": _entry("vit_base_patch8", "dino_vitbase8", 8, 768, 85_807_872),
}
