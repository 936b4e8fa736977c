"""A timm vision transformer as a teacher: the tokens of its last block, after the final norm."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gsn.checks import check_shape
from gsn.fingerprint import sha256_of_code
from gsn.geometry.cell_grid import CellGrid
from gsn.teachers.torchvision_ops import import_torchvision

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def import_timm() -> Any:  # noqa: ANN401  (timm has no types)
    """Import timm, which needs torchvision."""
    import_torchvision()
    import timm

    return timm


class VisionTransformerTeacher:
    """Patch tokens of a timm ViT at the photograph's own size.

    Patches start at the upper left corner. The rest of H and W that fills no patch is dropped at
    the bottom and on the right. timm stretches the position table to the grid (bicubic).
    Computes in bfloat16 on CUDA, in float32 elsewhere.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        weights: Mapping[str, object],
        device: torch.device,
        code: Mapping[str, str],
    ) -> None:
        """Wrap a network.

        Args:
            name: As in the registry.
            network: From `timm.create_model(..., num_classes=0, dynamic_img_size=True)`.
            weights: What the weights are, for the fingerprint; `trained` says if they are.
            device: Where to compute.
            code: Hashes of the modules that built the network, for the fingerprint.
        """
        vit: Any = network.eval().requires_grad_(False).to(device)
        self.name = name
        self.channels = int(vit.num_features)
        self.trained = bool(weights["trained"])
        self._vit = vit
        self._patch_px = int(vit.patch_embed.patch_size[0])
        self._device = device
        self._on_cuda = device.type == "cuda"
        self._mean = torch.tensor(IMAGENET_MEAN, device=device)
        self._std = torch.tensor(IMAGENET_STD, device=device)
        self.fingerprint: dict[str, object] = {
            "name": name,
            "weights": dict(weights),
            "layer": "last block, after the final norm",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "remainder": "dropped at the bottom and on the right",
            # Another device may give other bits, so its maps are others.
            "precision": "bfloat16" if self._on_cuda else "float32",
            "timm": str(import_timm().__version__),
            "code": {"vision_transformer": sha256_of_code(sys.modules[__name__]), **code},
        }

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of a photograph of this size.

        Raises:
            ValueError: The photograph is smaller than a patch.
        """
        if min(height, width) < self._patch_px:
            raise ValueError(
                f"{self.name}: a photograph of {height}×{width} pixels is smaller than one patch "
                f"of {self._patch_px}×{self._patch_px}"
            )
        return height // self._patch_px, width // self._patch_px

    def grid(self, height: int, width: int) -> CellGrid:
        """Return where the cells lie in the photograph: the same for every size."""
        return CellGrid.of_patches((self._patch_px, self._patch_px))

    @torch.inference_mode()
    def __call__(
        self,
        images: Tensor,  # (B, H, W, 3) uint8
    ) -> Tensor:  # (B, h, w, C) float32
        """Compute the maps.

        Raises:
            ValueError: `images` is not (B, H, W, 3), not uint8, or smaller than a patch.
        """
        size = check_shape("images", images, "B H W 3")
        if images.dtype != torch.uint8:
            raise ValueError(f"images: expected uint8 in [0, 255], got {images.dtype}")
        rows, columns = self.grid_size(size["H"], size["W"])
        kept = images[:, : rows * self._patch_px, : columns * self._patch_px].to(self._device)
        rgb = (kept.float() / 255.0 - self._mean) / self._std
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._on_cuda):
            tokens: Tensor = self._vit.forward_features(rgb.permute(0, 3, 1, 2).contiguous())
        patches = tokens[:, self._vit.num_prefix_tokens :].float()
        return patches.reshape(size["B"], rows, columns, self.channels)
