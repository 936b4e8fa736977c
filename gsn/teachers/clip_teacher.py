"""A network of images and texts as a teacher: CLIP, SigLIP, or a small one of the same build."""

import importlib
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gsn.checks import check_shape
from gsn.fingerprint import sha256_of_code
from gsn.geometry.cell_grid import CellGrid
from gsn.teachers import clip_dense, clip_windows, preprocessing
from gsn.teachers.clip_dense import DenseReader
from gsn.teachers.clip_windows import WindowReader
from gsn.teachers.preprocessing import Colour, Preprocessing
from gsn.teachers.teacher import TeacherConfig
from gsn.teachers.torchvision_ops import import_torchvision

Tokenize = Callable[[list[str]], Tensor]  # texts → (P, length) numbers of tokens


def import_open_clip() -> Any:  # noqa: ANN401  (open_clip has no types)
    """Import open_clip, which needs torchvision."""
    import_torchvision()
    import open_clip

    return open_clip


class ClipTeacher:
    """Features in the space that a network shares with texts, all of unit length.

    `dense` reads one vector a patch (`DenseReader`), `windows` one a window (`WindowReader`).
    Computes in bfloat16 on CUDA, in float32 elsewhere; texts always in float32.
    """

    def __init__(
        self,
        name: str,
        network: Any,  # noqa: ANN401
        tokenize: Tokenize,
        mean: Colour,
        std: Colour,
        weights: Mapping[str, object],
        config: TeacherConfig,
        device: torch.device,
        code: Mapping[str, str],
    ) -> None:
        """Wrap a network.

        Args:
            name: As in the registry.
            network: An `open_clip.CLIP` or `open_clip.CustomTextCLIP`.
            tokenize: Turns texts into what `network.encode_text` takes.
            mean: Of the colours, as the network was trained with.
            std: Likewise.
            weights: What the weights are, for the fingerprint; `trained` says if they are.
            config: Section `teacher`: of it `clip` and `long_side_px`.
            device: Where to compute.
            code: Hashes of the modules that built the network, for the fingerprint.

        Raises:
            ValueError: The settings cannot be had from this network.
        """
        self._network = network.eval().requires_grad_(False).to(device)
        self._tokenize = tokenize
        self._preprocessing = Preprocessing(mean, std, config.long_side_px)
        self._reader: DenseReader | WindowReader
        if config.clip.mode == "dense":
            self._reader = DenseReader(network)
        else:
            self._reader = WindowReader(network, config.clip, self._preprocessing, device)
        self._device = device
        self._on_cuda = device.type == "cuda"
        self.name = name
        self.channels = joint_dimension(network) * self._reader.copies
        self.trained = bool(weights["trained"])
        own = (sys.modules[__name__], clip_dense, clip_windows, preprocessing)
        self.fingerprint: dict[str, object] = {
            "name": name,
            "weights": dict(weights),
            "clip": self._reader.describe(),
            "preprocessing": self._preprocessing.describe(),
            # Another device may give other bits, so its maps are others.
            "precision": "bfloat16" if self._on_cuda else "float32",
            "open_clip": str(import_open_clip().__version__),
            "code": {"clip_teacher": sha256_of_code(*own), **code},
        }
        if hasattr(network.visual, "trunk"):  # SigLIP's image tower is timm's
            self.fingerprint["timm"] = str(importlib.import_module("timm").__version__)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of a photograph of this size.

        Raises:
            ValueError: It is smaller than one patch, or than the largest window.
        """
        return self._reader.grid_size(*self._preprocessing.size(height, width))

    def grid(self, height: int, width: int) -> CellGrid:
        """Return where the cells of that map lie in the photograph."""
        return self._preprocessing.grid(self._reader.grid(), height, width)

    def __call__(
        self,
        images: Tensor,  # (B, H, W, 3) uint8
    ) -> Tensor:  # (B, h, w, C) float32, unit length
        """Compute the maps.

        Raises:
            ValueError: `images` is not (B, H, W, 3), not uint8, or too small.
        """
        rgb = self._preprocessing(images, self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._on_cuda):
            return self._reader(rgb)

    def compile(self) -> None:
        """Make later passes faster, at the price of a slow first one."""
        self._reader.compile()

    @torch.inference_mode()
    def embed_texts(self, texts: list[str]) -> Tensor:  # (P, C) float32, unit length, on the CPU
        """Embed texts, to be compared with cells by their cosine.

        For windows of several sizes side by side (`merge: concat`), a text stands for each of
        them: its vector is repeated, so that the cosine is the mean of the cosines of all sizes.

        Raises:
            ValueError: The tokenizer needs a package that is not installed.
            FileNotFoundError: The tokenizer is neither on this machine nor within reach.
        """
        if not texts:
            return torch.empty(0, self.channels)
        tokens = self._tokenize(texts).to(self._device)
        check_shape("tokens", tokens, f"{len(texts)} _")
        vectors = functional.normalize(self._network.encode_text(tokens).float(), dim=-1)
        copies = self._reader.copies
        return vectors.repeat(1, copies).div(math.sqrt(copies)).cpu()


def joint_dimension(network: Any) -> int:  # noqa: ANN401
    """Return the number of channels of the space that images and texts share."""
    visual = network.visual
    return int(visual.output_dim if hasattr(visual, "output_dim") else network.text.output_dim)
