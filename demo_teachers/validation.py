"""How a network does on validation scenes while it trains; the reported numbers are of others."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from demo_teachers.held_out import at_pixels, held_out_scenes
from demo_teachers.label_transfer import label_transfer_miou
from demo_teachers.text_queries import text_miou
from gsn.captures.capture import ByteArray
from gsn.geometry.cell_grid import CellGrid
from gsn.teachers.clip_dense import DenseReader
from gsn.teachers.demo.networks import PATCH_PX
from gsn.teachers.demo.words import tokenize
from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

N_SCENES = 6
PREPARE = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None)


class Validation:
    """Measures a ViT."""

    def __init__(self) -> None:
        self._scenes = held_out_scenes(N_SCENES, "validation")

    def miou(self, vit: Any, device: torch.device) -> float:  # noqa: ANN401
        """Return the label transfer of the patch tokens."""

        @torch.inference_mode()
        def features(image: ByteArray) -> Tensor:
            height, width = image.shape[:2]
            was_training = vit.training
            tokens = vit.eval().forward_features(PREPARE(torch.from_numpy(image)[None], device))
            vit.train(was_training)
            map_ = tokens[0, 1:].float().cpu().unflatten(0, (height // PATCH_PX, width // PATCH_PX))
            grid = CellGrid.of_patches((PATCH_PX, PATCH_PX))
            pixels = at_pixels(functional.normalize(map_, dim=-1), grid, height, width)
            return functional.normalize(pixels, dim=-1)

        return label_transfer_miou(self._scenes, features)


class TextValidation:
    """Measures a network of images and texts."""

    def __init__(self) -> None:
        self._scenes = held_out_scenes(N_SCENES, "validation")

    @torch.inference_mode()
    def miou(self, network: Any, device: torch.device) -> float:  # noqa: ANN401
        """Return the IoU of objects found by their captions."""
        reader = DenseReader(network)

        def features(image: ByteArray) -> Tensor:
            map_ = reader(PREPARE(torch.from_numpy(image)[None], device))[0].cpu()
            pixels = at_pixels(map_, reader.grid(), *image.shape[:2])
            return functional.normalize(pixels, dim=-1)

        def embed(texts: list[str]) -> Tensor:
            vectors = network.encode_text(tokenize(texts).to(device))
            return functional.normalize(vectors.float(), dim=-1).cpu()

        return text_miou(self._scenes, features, embed)
