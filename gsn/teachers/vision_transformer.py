"""A timm vision transformer as a teacher: tokens or facets of its blocks, on the patch grid."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gsn.fingerprint import sha256_of_code
from gsn.geometry.cell_grid import CellGrid
from gsn.teachers import preprocessing as preprocessing_module
from gsn.teachers import weights as weights_module
from gsn.teachers.preprocessing import Preprocessing
from gsn.teachers.teacher import VitConfig
from gsn.teachers.torchvision_ops import import_torchvision

QKV = ("query", "key", "value")  # in timm's order


def import_timm() -> Any:  # noqa: ANN401  (timm has no types)
    """Import timm, which needs torchvision."""
    import_torchvision()
    import timm

    return timm


class VisionTransformerTeacher:
    """Patch tokens of a timm `VisionTransformer` or `Eva`, less the class and register tokens.

    - Facet `token`: the tokens after each chosen block and the network's final norm, as timm's
      `forward_intermediates(norm=True)` gives them.
    - Facets `query`, `key`, `value`: what the block's attention projects from its normed input,
      all heads side by side, before rotary positions, norms of heads and the final norm.

    Several layers are concatenated along the channels. Patches start at the upper left corner and
    every `stride_px`; what fills no patch is dropped at the bottom and on the right. timm resamples
    the position table (bicubic), or rotary positions, to the grid. Computes in bfloat16 on CUDA, in
    float32 elsewhere.
    """

    def __init__(
        self,
        name: str,
        network: Any,  # noqa: ANN401  (timm has no types)
        weights: Mapping[str, object],
        device: torch.device,
        code: Mapping[str, str],
        preprocessing: Preprocessing,
        options: VitConfig,
    ) -> None:
        """Wrap a network.

        Args:
            name: As in the registry.
            network: From `timm.create_model(..., num_classes=0, dynamic_img_size=True)`.
            weights: What the weights are, for the fingerprint; `trained` says if they are.
            device: Where to compute.
            code: Hashes of the modules that built the network, for the fingerprint.
            preprocessing: Size and scale of values that the network takes.
            options: Layers, facet and stride.

        Raises:
            ValueError: The network has no such layer, or the stride leaves gaps between patches.
        """
        self._vit = network.eval().requires_grad_(False).to(device)
        self._patch_px = int(network.patch_embed.patch_size[0])
        self._stride_px = _stride(name, options.stride_px, self._patch_px)
        self._vit.patch_embed.proj.stride = (self._stride_px, self._stride_px)
        self._layers = _layers(name, options.layers, len(network.blocks))
        self._blocks = list(network.blocks)[: max(self._layers) + 1]
        self._facet = options.facet
        self._device = device
        self._on_cuda = device.type == "cuda"
        self._preprocessing = preprocessing
        self._run: Callable[[Tensor], Tensor] = self._read
        self.name = name
        self.channels = int(network.embed_dim) * len(self._layers)
        self.trained = bool(weights["trained"])
        own = {"preprocessing": preprocessing_module, "weights": weights_module}
        own["vision_transformer"] = sys.modules[__name__]
        self.fingerprint: dict[str, object] = {
            "name": name,
            "weights": dict(weights),
            "layers": self._layers,
            "facet": options.facet,
            "stride_px": self._stride_px,
            "preprocessing": preprocessing.describe(),
            # Another device may give other bits, so its maps are others.
            "precision": "bfloat16" if self._on_cuda else "float32",
            "timm": str(import_timm().__version__),
            "code": {key: sha256_of_code(module) for key, module in own.items()} | dict(code),
        }

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of a photograph of this size.

        Raises:
            ValueError: The photograph, resized, is smaller than a patch.
        """
        rows, columns = self._preprocessing.size(height, width)
        if min(rows, columns) < self._patch_px:
            resized = "" if (rows, columns) == (height, width) else f" (resized: {rows}×{columns})"
            raise ValueError(
                f"{self.name}: a photograph of {height}×{width} pixels{resized} is smaller than "
                f"one patch of {self._patch_px}×{self._patch_px}"
            )
        return (
            (rows - self._patch_px) // self._stride_px + 1,
            (columns - self._patch_px) // self._stride_px + 1,
        )

    def grid(self, height: int, width: int) -> CellGrid:
        """Return where the cells lie in the photograph."""
        first, step = (self._patch_px - 1) / 2, self._stride_px
        return self._preprocessing.grid(CellGrid((first, first), (step, step)), height, width)

    @torch.inference_mode()
    def __call__(
        self,
        images: Tensor,  # (B, H, W, 3) uint8
    ) -> Tensor:  # (B, h, w, C) float32
        """Compute the maps.

        Raises:
            ValueError: `images` is not (B, H, W, 3), not uint8, or smaller than a patch.
        """
        pixels = self._preprocessing(images, self._device)
        rows, columns = self.grid_size(images.shape[1], images.shape[2])
        height, width = ((n - 1) * self._stride_px + self._patch_px for n in (rows, columns))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._on_cuda):
            tokens = self._run(pixels[:, :, :height, :width])
        return tokens.float().reshape(len(images), rows, columns, self.channels)

    def compile(self) -> None:
        """Make later passes faster, at the price of a slow first one."""
        self._run = torch.compile(self._read)

    def _read(
        self,
        pixels: Tensor,  # (B, 3, H', W')
    ) -> Tensor:  # (B, h·w, C)
        """Run the blocks that are needed, one by one; timm's own loop gives no facets."""
        vit, found = self._vit, {}
        # Not the forward of the embedding: it refuses sizes that are no multiples of the patch.
        cells = vit.patch_embed.norm(vit.patch_embed.proj(pixels).permute(0, 2, 3, 1))
        placed = vit._pos_embed(cells)
        tokens, rope = placed if isinstance(placed, tuple) else (placed, None)
        positions = {} if rope is None else {"rope": rope}
        tokens = vit.norm_pre(tokens)
        for layer, block in enumerate(self._blocks):
            wanted = layer in self._layers
            if wanted and self._facet != "token":
                found[layer] = project(block.attn, block.norm1(tokens), self._facet)
            if layer + 1 < len(self._blocks) or self._facet == "token":
                tokens = block(tokens, **positions)
            if wanted and self._facet == "token":
                found[layer] = vit.norm(tokens)
        chosen = torch.cat([found[layer] for layer in self._layers], dim=-1)
        return chosen[:, vit.num_prefix_tokens :]


def project(
    attention: Any,  # noqa: ANN401  (timm has no types)
    tokens: Tensor,  # (B, N, C)
    facet: str,
) -> Tensor:  # (B, N, C)
    """Project queries, keys or values as a timm attention does, whichever way it holds weights."""
    part = QKV.index(facet)
    if attention.qkv is None:  # apart: Eva with `qkv_fused=False`
        projection = (attention.q_proj, attention.k_proj, attention.v_proj)[part]
        weight, bias = projection.weight, projection.bias
    else:
        weight, bias = attention.qkv.weight.chunk(3)[part], None
        if getattr(attention, "q_bias", None) is not None:  # Eva: the biases lie beside
            bias = (attention.q_bias, attention.k_bias, attention.v_bias)[part]
        elif attention.qkv.bias is not None:
            bias = attention.qkv.bias.chunk(3)[part]
    return functional.linear(tokens, weight, bias)


def _stride(name: str, stride_px: int | None, patch_px: int) -> int:
    stride = patch_px if stride_px is None else stride_px
    if not 1 <= stride <= patch_px:
        raise ValueError(
            f"{name}: stride_px is {stride}; expected 1 to {patch_px}, the patch size, so that no "
            "pixel is left out"
        )
    return stride


def _layers(name: str, layers: list[int], depth: int) -> list[int]:
    if not layers or any(not -depth <= layer < depth for layer in layers):
        raise ValueError(
            f"{name}: layers are {layers}; expected blocks 0 to {depth - 1}, or -{depth} to -1 "
            "counted from the last"
        )
    found = [layer % depth for layer in layers]
    if len(set(found)) < len(found):
        raise ValueError(f"{name}: layers are {layers}: one of them is named twice")
    return found
