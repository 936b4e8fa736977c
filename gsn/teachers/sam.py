"""The image encoder of Segment Anything, Kirillov et al. 2023 (arXiv:2304.02643), through timm."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsn.fingerprint import sha256_of_code
from gsn.geometry.cell_grid import CellGrid
from gsn.teachers import preprocessing as preprocessing_module
from gsn.teachers import weights as weights_module
from gsn.teachers.preprocessing import Preprocessing
from gsn.teachers.teacher import Teacher, TeacherCard, TeacherConfig, TeacherEntry
from gsn.teachers.vision_transformer import import_timm
from gsn.teachers.weights import build_network

LONG_SIDE_PX = 1024  # of training
LAYER_NORM_EPS = 1e-6  # of training; timm's networks are made with 1e-5
TIMM_NAME = "samvit_base_patch16.sa1b"
ORIGINAL = "sam_vit_b_01ec64.pth"
ORIGINAL_URL = "https://dl.fbaipublicfiles.com/segment_anything"
REMAINDER = (
    "zeros after normalisation, at the bottom and on the right, up to a square; "
    "cells kept whose centre lies in the photograph"
)


class SamTeacher:
    """The map of the neck, 256 channels, as the mask decoder of SAM takes it.

    The photograph is resized to a long side of 1024 px (bilinear, as published), normalised and
    padded with zeros at the bottom and on the right to a square. Other long sides work if the patch
    divides them: timm resamples the position table and the relative positions. Computes in bfloat16
    on CUDA, in float32 elsewhere.
    """

    def __init__(
        self,
        name: str,
        network: Any,  # noqa: ANN401  (timm has no types)
        weights: Mapping[str, object],
        device: torch.device,
        long_side_px: int | None,
    ) -> None:
        """Wrap a network.

        Args:
            name: As in the registry.
            network: A `VisionTransformerSAM` of timm, without its head.
            weights: What the weights are, for the fingerprint; `trained` says if they are.
            device: Where to compute.
            long_side_px: Side of the square that the network sees; None: 1024.

        Raises:
            ValueError: The patch does not divide the long side.
        """
        self._patch_px = int(network.patch_embed.patch_size[0])
        self._side_px = LONG_SIDE_PX if long_side_px is None else long_side_px
        if self._side_px % self._patch_px:
            raise ValueError(
                f"{name}: long_side_px is {long_side_px}; expected a multiple of the patch, "
                f"{self._patch_px}, or null for {LONG_SIDE_PX}"
            )
        self._sam = network.eval().requires_grad_(False).to(device)
        self._device = device
        self._on_cuda = device.type == "cuda"
        settings = network.pretrained_cfg
        self._preprocessing = Preprocessing(
            tuple(settings["mean"]), tuple(settings["std"]), self._side_px, REMAINDER, "bilinear"
        )
        self._run: Callable[[Tensor], Tensor] = network.forward_features
        self.name = name
        self.channels = int(network.num_features)
        self.trained = bool(weights["trained"])
        code = {"sam": sys.modules[__name__], "weights": weights_module}
        code["preprocessing"] = preprocessing_module
        self.fingerprint: dict[str, object] = {
            "name": name,
            "weights": dict(weights),
            "preprocessing": self._preprocessing.describe(),
            # Another device may give other bits, so its maps are others.
            "precision": "bfloat16" if self._on_cuda else "float32",
            "timm": str(import_timm().__version__),
            "code": {key: sha256_of_code(module) for key, module in code.items()},
        }

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of a photograph of this size.

        Raises:
            ValueError: The photograph is so narrow that no cell is centred in it.
        """
        half = self._patch_px // 2
        rows, columns = (
            (side + half) // self._patch_px for side in self._preprocessing.size(height, width)
        )
        if min(rows, columns) == 0:
            raise ValueError(
                f"{self.name}: a photograph of {height}×{width} pixels, resized to a long side of "
                f"{self._side_px}, is narrower than half a patch of {self._patch_px}"
            )
        return rows, columns

    def grid(self, height: int, width: int) -> CellGrid:
        """Return where the cells lie in the photograph."""
        patches = CellGrid.of_patches((self._patch_px, self._patch_px))
        return self._preprocessing.grid(patches, height, width)

    @torch.inference_mode()
    def __call__(
        self,
        images: Tensor,  # (B, H, W, 3) uint8
    ) -> Tensor:  # (B, h, w, C) float32
        """Compute the maps.

        Raises:
            ValueError: `images` is not (B, H, W, 3), not uint8, or too narrow.
        """
        pixels = self._preprocessing(images, self._device)
        rows, columns = self.grid_size(images.shape[1], images.shape[2])
        height, width = pixels.shape[2:]
        square = functional.pad(pixels, (0, self._side_px - width, 0, self._side_px - height))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._on_cuda):
            maps = self._run(square)
        return maps[:, :, :rows, :columns].permute(0, 2, 3, 1).float().contiguous()

    def compile(self) -> None:
        """Make later passes faster, at the price of a slow first one."""
        self._run = torch.compile(self._sam.forward_features)


def create_sam(from_hub: bool) -> Any:  # noqa: ANN401  (timm has no types)
    """Create the encoder without a head."""
    norm = partial(nn.LayerNorm, eps=LAYER_NORM_EPS)
    return import_timm().create_model(
        TIMM_NAME, pretrained=from_hub, num_classes=0, norm_layer=norm
    )


def to_timm(
    weights: dict[str, Tensor],
    network: Any,  # noqa: ANN401  (timm has no types)
) -> dict[str, Tensor]:
    """Keep the image encoder of an original file, under timm's names."""
    import_timm()
    from timm.models.vision_transformer_sam import checkpoint_filter_fn

    converted: dict[str, Tensor] = checkpoint_filter_fn(weights, network)
    return converted


def build_sam(config: TeacherConfig, device: torch.device) -> Teacher:
    """Build the teacher.

    Raises:
        ValueError: The weights file does not fit the network, or the long side not the patch.
        FileNotFoundError: The weights are neither on this machine nor within reach.
    """
    original = f"{ORIGINAL} from {ORIGINAL_URL}/{ORIGINAL}"
    wanted = f"{original} (or model.safetensors from https://huggingface.co/timm/{TIMM_NAME})"
    network, weights = build_network(config, create_sam, wanted, to_timm)
    return SamTeacher(config.name, network, weights, device, config.long_side_px)


SAM = {
    "sam_vitb16": TeacherEntry(
        TeacherCard(
            family="SAM",
            channels=256,
            patch_px=16,
            parameters=89_670_912,
            licence="Apache-2.0",
            weights_from=f"timm/{TIMM_NAME}",
        ),
        build_sam,
    )
}
