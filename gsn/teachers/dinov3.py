"""The DINOv3 ViTs of Siméoni et al. 2025 (arXiv:2508.10104), through timm.

Rotary positions in place of a table, four register tokens, LayerNorm eps 1e-5 as in training. Of
what timm publishes these are the networks trained on photographs (`lvd1689m`). Left out: its
`qkvb` twins, whose biases of queries and values are all zero, as they are in the original files;
`sat493m`, trained on satellite images; `eupe`, distilled by others. timm keeps the periods of the
rotary positions in float32, where the original rounds them to bfloat16.
"""

import re
import sys
from typing import Any

from torch import Tensor

from gsn.teachers.teacher import TeacherCard, TeacherEntry
from gsn.teachers.timm_entry import timm_entry

ORIGINAL_URL = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads"
# Of the original state dict: for training only, or computed by timm.
NOT_READ = re.compile(r"mask_token$|rope_embed\.|local_cls_norm\.|.*\.bias_mask$")
RENAMED = (
    (re.compile(r"^storage_tokens$"), "reg_token"),
    (re.compile(r"\.ls([12])\.gamma$"), r".gamma_\1"),
    (re.compile(r"\.mlp\.w1\."), ".mlp.fc1_g."),
    (re.compile(r"\.mlp\.w2\."), ".mlp.fc1_x."),
    (re.compile(r"\.mlp\.w3\."), ".mlp.fc2."),
)


def to_timm(
    weights: dict[str, Tensor],
    network: Any,  # noqa: ANN401  (timm has no types)
) -> dict[str, Tensor]:
    """Bring the original names to timm's; a state dict that has those is left as it is.

    Raises:
        ValueError: A bias of queries, keys or values is not zero; these networks have none.
    """
    if "storage_tokens" not in weights:
        return weights
    converted = {}
    for name, value in weights.items():
        if name.endswith(".attn.qkv.bias"):
            _check_zero(name, value, weights.get(f"{name}_mask"))
        elif not NOT_READ.match(name):
            for pattern, replacement in RENAMED:
                name = pattern.sub(replacement, name)
            converted[name] = value
    return converted


def _check_zero(name: str, bias: Tensor, mask: Tensor | None) -> None:
    in_use = bias if mask is None else bias[mask != 0]
    if in_use.any():
        raise ValueError(
            f"{name}: expected zeros, as in the published DINOv3 weights, found up to "
            f"{float(in_use.abs().max()):.3g}; the network has no such bias"
        )


def _entry(size: str, short: str, channels: int, parameters: int) -> TeacherEntry:
    card = TeacherCard(
        family="DINOv3",
        channels=channels,
        patch_px=16,
        parameters=parameters,
        licence="DINOv3 License",
        weights_from=f"timm/vit_{size}_patch16_dinov3.lvd1689m",
    )
    original = f"dinov3_{short}_pretrain_lvd1689m-*.pth from {ORIGINAL_URL}"
    return timm_entry(card, original, sys.modules[__name__], to_timm)


DINOV3 = {
    "dinov3_vits16": _entry("small", "vits16", 384, 21_586_944),
    "dinov3_vits16plus": _entry("small_plus", "vits16plus", 384, 28_683_264),
    "dinov3_vitb16": _entry("base", "vitb16", 768, 85_641_216),
    "dinov3_vitl16": _entry("large", "vitl16", 1024, 303_079_424),
    "dinov3_vith16plus": _entry("huge_plus", "vith16plus", 1280, 840_509_440),
    "dinov3_vit7b16": _entry("7b", "vit7b16", 4096, 6_716_030_976),
}
