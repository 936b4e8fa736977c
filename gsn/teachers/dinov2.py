"""The DINOv2 ViTs of Oquab et al. 2023 (arXiv:2304.07193), through timm.

With `_reg`: trained with four register tokens (Darcet et al. 2023, arXiv:2309.16588), which take
the artefacts out of the maps. timm's LayerNorm eps is the one they were trained with (1e-6); their
position tables are of 518 px (37×37 patches) and resampled to the grid by timm, with a low-pass,
where the original interpolates with an offset of 0.1 patches and, without registers, none.
"""

import sys
from typing import Any

from torch import Tensor

from gsn.teachers.teacher import TeacherCard, TeacherEntry
from gsn.teachers.timm_entry import timm_entry

ORIGINAL_URL = "https://dl.fbaipublicfiles.com/dinov2"


def to_timm(
    weights: dict[str, Tensor],
    network: Any,  # noqa: ANN401  (timm has no types)
) -> dict[str, Tensor]:
    """Bring the original names to timm's; a state dict that has those is left as it is.

    The mask token of training goes. With registers, timm gives the class token no entry in the
    position table, so the original one is added to the token.
    """
    if "mask_token" not in weights:
        return weights
    converted = {
        name.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."): value
        for name, value in weights.items()
        if name != "mask_token"
    }
    if converted.keys() >= {"register_tokens", "cls_token", "pos_embed"}:
        table = converted["pos_embed"]
        converted["reg_token"] = converted.pop("register_tokens")
        converted["cls_token"] = converted["cls_token"] + table[:, :1]
        converted["pos_embed"] = table[:, 1:]
    return converted


def _entry(size: str, channels: int, parameters: int, registers: bool) -> TeacherEntry:
    suffix = "_reg4" if registers else ""
    card = TeacherCard(
        family="DINOv2",
        channels=channels,
        patch_px=14,
        parameters=parameters,
        licence="Apache-2.0",
        weights_from=f"timm/vit_{size}_patch14{suffix}_dinov2.lvd142m",
    )
    folder = f"dinov2_vit{size[0]}14"
    file = f"{folder}{suffix}_pretrain.pth"
    original = f"{file} from {ORIGINAL_URL}/{folder}/{file}"
    return timm_entry(card, original, sys.modules[__name__], to_timm)


DINOV2 = {
    "dinov2_vits14": _entry("small", 384, 22_056_192, registers=False),
    "dinov2_vitb14": _entry("base", 768, 86_579_712, registers=False),
    "dinov2_vitl14": _entry("large", 1024, 304_367_616, registers=False),
    "dinov2_vitg14": _entry("giant", 1536, 1_136_479_232, registers=False),
    "dinov2_vits14_reg": _entry("small", 384, 22_057_344, registers=True),
    "dinov2_vitb14_reg": _entry("base", 768, 86_582_016, registers=True),
    "dinov2_vitl14_reg": _entry("large", 1024, 304_370_688, registers=True),
    "dinov2_vitg14_reg": _entry("giant", 1536, 1_136_483_840, registers=True),
}
