"""Patch tokens of a CLIP or SigLIP image tower, brought into the space it shares with texts.

The joint space is made for one vector a photograph: the class token (CLIP) or the attention pool
(SigLIP) gathers it from all tokens. Here the last step of that gathering lets every patch see
itself alone, which leaves of attention its value path: `out(value(x))`. What follows is as
published: residuals, MLP, norm and projection. After Zhou et al. 2022 (MaskCLIP,
arXiv:2112.01071), which drops the residual and the MLP of the last block; they are kept here.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsn.geometry.cell_grid import CellGrid


def stretch_table(
    table: Tensor,  # (h·w, C), the positions of a grid, row by row
    old: tuple[int, int],
    new: tuple[int, int],
) -> Tensor:  # (h'·w', C)
    """Resample a position table to another grid: bicubic, with a low-pass only where it shrinks."""
    if old == new:
        return table
    image = table.reshape(1, *old, -1).permute(0, 3, 1, 2).float()
    shrinks = new[0] < old[0] or new[1] < old[1]
    stretched = functional.interpolate(image, new, mode="bicubic", antialias=shrinks)
    return stretched[0].flatten(1).T.to(table.dtype)


class ClipPatches:
    """Patches of open_clip's own ViT: in its last block each sees itself alone."""

    def __init__(self, visual: Any) -> None:  # noqa: ANN401  (open_clip has no types)
        """Wrap an image tower.

        Raises:
            ValueError: It pools by attention, or its blocks are not the plain ones.
        """
        attention = visual.transformer.resblocks[-1].attn
        if visual.attn_pool is not None or not isinstance(attention, nn.MultiheadAttention):
            raise ValueError(
                "dense features need a ViT of plain blocks without attention pool, found "
                f"{type(attention).__name__}; use `clip.mode: windows`"
            )
        self._visual = visual
        self.patch_px: tuple[int, int] = tuple(visual.patch_size)

    def __call__(
        self,
        rgb: Tensor,  # (B, 3, H, W), whole patches
    ) -> Tensor:  # (B, h·w, C)
        """Compute the tokens, not of unit length."""
        visual = self._visual
        cells = visual.conv1(rgb)
        table = visual.positional_embedding
        positions = stretch_table(table[1:], tuple(visual.grid_size), tuple(cells.shape[2:]))
        x = cells.flatten(2).transpose(1, 2) + positions.to(cells.dtype)
        first = (visual.class_embedding + table[0]).to(x.dtype).expand(len(x), 1, -1)
        x = visual.ln_pre(torch.cat([first, x], dim=1))
        for block in visual.transformer.resblocks[:-1]:
            x = block(x)
        x = self._last_block(x[:, 1:])  # nobody looks at the class token any more
        projected: Tensor = visual.ln_post(x) @ visual.proj
        return projected

    def _last_block(self, x: Tensor) -> Tensor:
        block = self._visual.transformer.resblocks[-1]
        attention = block.attn
        width = x.shape[-1]
        weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        values = functional.linear(block.ln_1(x), weight, bias)
        x = x + block.ls_1(attention.out_proj(values))
        result: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
        return result


class PooledPatches:
    """Patches of a timm ViT with attention pool (SigLIP): each goes through the pool alone."""

    def __init__(self, visual: Any) -> None:  # noqa: ANN401
        """Wrap an image tower.

        Raises:
            ValueError: It has no attention pool of one query, or tokens beside the patches.
        """
        trunk = visual.trunk
        pool = getattr(trunk, "attn_pool", None)
        if pool is None or trunk.num_prefix_tokens or pool.latent_len != 1:
            raise ValueError(
                "dense features need a timm ViT with an attention pool of one query and patch "
                f"tokens alone, found {type(trunk).__name__} that is otherwise; use "
                "`clip.mode: windows`"
            )
        self._visual = visual
        self.patch_px: tuple[int, int] = tuple(trunk.patch_embed.patch_size)

    def __call__(
        self,
        rgb: Tensor,  # (B, 3, H, W), whole patches
    ) -> Tensor:  # (B, h·w, C)
        """Compute the tokens, not of unit length."""
        trunk, pool = self._visual.trunk, self._visual.trunk.attn_pool
        cells = trunk.patch_embed.proj(rgb)
        old, new = tuple(trunk.patch_embed.grid_size), tuple(cells.shape[2:])
        x = trunk.patch_embed.norm(cells.flatten(2).transpose(1, 2))
        x = x + stretch_table(trunk.pos_embed[0], old, new).to(x.dtype)
        x = trunk.norm(trunk.blocks(trunk.norm_pre(x)))
        width = x.shape[-1]
        bias = None if pool.kv.bias is None else pool.kv.bias[width:]
        x = pool.proj(functional.linear(x, pool.kv.weight[width:], bias))
        if pool.mlp is not None:
            x = x + pool.mlp(pool.norm(x))
        result: Tensor = self._visual.head(trunk.head(trunk.fc_norm(x)))
        return result


class DenseReader:
    """A photograph of any size → one vector a patch, of unit length, in the joint space.

    Patches start at the upper left corner; the rest that fills no patch is dropped at the bottom
    and on the right. The position table is stretched to the grid.
    """

    copies = 1  # of the joint space side by side in a feature

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        """Read an open_clip network.

        Raises:
            ValueError: Its image tower is of another make.
        """
        visual = network.visual
        if not (hasattr(visual, "trunk") or hasattr(visual, "transformer")):
            raise ValueError(f"dense features need a ViT, found {type(visual).__name__}")
        self._tower = PooledPatches(visual) if hasattr(visual, "trunk") else ClipPatches(visual)
        self._tokens: Any = self._tower

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of an image of this size, as the network sees it."""
        patch = self._tower.patch_px
        rows, columns = height // patch[0], width // patch[1]
        if not rows * columns:
            raise ValueError(
                f"an image of {height}×{width} pixels is smaller than one patch of "
                f"{patch[0]}×{patch[1]}"
            )
        return rows, columns

    def grid(self) -> CellGrid:
        """Return where the patches lie in that image."""
        return CellGrid.of_patches(self._tower.patch_px)

    def describe(self) -> dict[str, object]:
        """Return the settings that count, for the fingerprint."""
        return {"mode": "dense"}

    def compile(self) -> None:
        """Make later passes faster."""
        self._tokens = torch.compile(self._tower.__call__)

    def __call__(
        self,
        rgb: Tensor,  # (B, 3, H, W)
    ) -> Tensor:  # (B, h, w, C) float32
        """Compute the maps."""
        rows, columns = self.grid_size(rgb.shape[2], rgb.shape[3])
        patch = self._tower.patch_px
        kept = rgb[:, :, : rows * patch[0], : columns * patch[1]].contiguous()
        tokens: Tensor = self._tokens(kept)
        unit = functional.normalize(tokens.float(), dim=-1)
        return unit.reshape(len(rgb), rows, columns, -1)
