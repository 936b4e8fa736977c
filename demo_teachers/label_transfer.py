"""Measure features without training on them: carry object labels from one view to the others.

Ten pixels of each object of one view are labelled, and as many of the background as of all objects
together. Each pixel of another view takes the majority of its nearest labelled pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gsn.captures.capture import ByteArray
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.draw import draw_scene
from gsn.captures.synthetic.picture import take_picture
from gsn.captures.synthetic.shading import Shader
from gsn.geometry.cell_grid import CellGrid
from gsn.teachers.clip_dense import DenseReader
from gsn.teachers.demo.networks import PATCH_PX
from gsn.teachers.demo.words import tokenize
from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsn.teachers.teacher import Teacher

LABELLED = 10  # pixels of each object
NEIGHBOURS = 3  # that vote
STRIDE = 2  # every so many-th pixel is scored
SMALLEST = 40  # pixels of an object in the labelled view; smaller ones are left out
# The default run's kind of capture, other scenes: seed and names are used nowhere else.
HELD_OUT = SyntheticConfig(
    seed=20_000,
    n_views=5,
    width_px=192,
    height_px=144,
    min_objects=4,
    max_objects=7,
    samples_per_side=2,
    baseline=0.25,
)
BACKGROUND_TEXTS = ("the background", "a table and a wall")
PixelFeatures = Callable[[ByteArray], Tensor]  # (H, W, 3) → (H, W, C), compared by distance


@dataclass(frozen=True)
class LabelledScene:
    """Pictures and ground truth of one held-out scene."""

    images: list[ByteArray]  # (H, W, 3)
    masks: list[npt.NDArray[np.uint8]]  # (H, W), 0 background
    captions: tuple[str, ...]  # of objects 1, 2, ...


def held_out_scenes(n_scenes: int, split: str = "test") -> list[LabelledScene]:
    """Render scenes that no training has seen; those of split `validation` guide its choices."""
    scenes = []
    for number in range(n_scenes):
        scene = draw_scene(f"{split}_{number}", HELD_OUT)
        shader = Shader(scene, torch.device("cpu"))
        size = (HELD_OUT.width_px, HELD_OUT.height_px, HELD_OUT.samples_per_side)
        pictures = [take_picture(shader, view, *size) for view in range(HELD_OUT.n_views)]
        captions = tuple(thing.caption for thing in scene.objects)
        scenes.append(LabelledScene([p.rgb for p in pictures], [p.mask for p in pictures], captions))
    return scenes


def label_transfer_miou(scenes: list[LabelledScene], features: PixelFeatures) -> float:
    """Return the mean IoU of objects, over the unlabelled views of all scenes."""
    return float(np.mean([_scene_iou(scene, features, seed) for seed, scene in enumerate(scenes)]))


def _scene_iou(scene: LabelledScene, features: PixelFeatures, seed: int) -> float:
    source = len(scene.images) // 2
    maps = [features(image)[::STRIDE, ::STRIDE] for image in scene.images]
    masks = [torch.from_numpy(mask[::STRIDE, ::STRIDE].copy()).long() for mask in scene.masks]
    rows, labels = _labelled_pixels(masks[source], seed)
    known = maps[source].flatten(0, 1)[rows]
    ious = []
    for view, (map_, mask) in enumerate(zip(maps, masks, strict=True)):
        if view == source:
            continue
        distances = torch.cdist(map_.flatten(0, 1), known)
        nearest = labels[distances.topk(NEIGHBOURS, largest=False).indices]
        predicted = nearest.mode(dim=1).values.reshape(mask.shape)
        ious += [
            iou(predicted == value, mask == value)
            for value in labels.unique().tolist()
            if value > 0 and bool((mask == value).any())
        ]
    return float(np.mean(ious))


def _labelled_pixels(mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the labelled pixels of a view: their indices in the flat picture, and labels."""
    draw = torch.Generator().manual_seed(seed)
    flat = mask.flatten()
    areas = flat.bincount()
    shown = [v for v in range(1, len(areas)) if areas[v] * STRIDE**2 >= SMALLEST]
    rows = []
    for value in [0, *shown]:
        at = torch.nonzero(flat == value)[:, 0]
        n = LABELLED * (len(shown) if value == 0 else 1)
        rows.append(at[torch.randperm(len(at), generator=draw)[:n]])
    picked = torch.cat(rows)
    return picked, flat[picked]


def iou(predicted: Tensor, truth: Tensor) -> float:
    """Return intersection over union of two masks, of which one at least is not empty."""
    return float((predicted & truth).sum() / (predicted | truth).sum())


def colour_features(image: ByteArray) -> Tensor:  # (H, W, 3)
    """Return the colour of each pixel."""
    return torch.from_numpy(image).float() / 255


def smooth_colour_features(image: ByteArray) -> Tensor:  # (H, W, 3)
    """Return the mean colour of 8 x 8 pixels, as coarse as a map of patch 8."""
    rgb = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    pooled = functional.avg_pool2d(rgb, 8)[0].permute(1, 2, 0)
    return at_pixels(pooled, CellGrid.of_patches((8, 8)), *image.shape[:2])


def teacher_features(teacher: Teacher) -> PixelFeatures:
    """Return what fetches a teacher's features, made unit length, at every pixel."""

    def features(image: ByteArray) -> Tensor:
        height, width = image.shape[:2]
        map_ = teacher(torch.from_numpy(image)[None])[0].float().cpu()
        pixels = at_pixels(functional.normalize(map_, dim=-1), teacher.grid(height, width), height, width)
        return functional.normalize(pixels, dim=-1)

    return features


def at_pixels(
    map_: Tensor,  # (h, w, C)
    grid: CellGrid,
    height: int,
    width: int,
) -> Tensor:  # (H, W, C)
    """Fetch a map at every pixel, bilinearly by position, the border cells beyond the border."""
    rows, columns = map_.shape[:2]
    y = (torch.arange(height) - grid.first_px[0]) / grid.step_px[0]
    x = (torch.arange(width) - grid.first_px[1]) / grid.step_px[1]
    y, x = torch.meshgrid((2 * y + 1) / rows - 1, (2 * x + 1) / columns - 1, indexing="ij")
    at = torch.stack([x, y], dim=-1)[None]
    fetched = functional.grid_sample(
        map_.permute(2, 0, 1)[None], at, align_corners=False, padding_mode="border"
    )
    return fetched[0].permute(1, 2, 0)


class Validation:
    """Measures a ViT while it trains, on scenes other than those of the reported numbers."""

    def __init__(self, n_scenes: int) -> None:
        self._scenes = held_out_scenes(n_scenes, "validation")

    def miou(self, vit: Any, device: torch.device) -> float:  # noqa: ANN401
        """Return the label transfer of the patch tokens."""

        @torch.inference_mode()
        def features(image: ByteArray) -> Tensor:
            height, width = image.shape[:2]
            prepare = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None)
            was_training = vit.training
            tokens = vit.eval().forward_features(prepare(torch.from_numpy(image)[None], device))
            vit.train(was_training)
            map_ = tokens[0, 1:].float().cpu().unflatten(0, (height // PATCH_PX, width // PATCH_PX))
            grid = CellGrid.of_patches((PATCH_PX, PATCH_PX))
            pixels = at_pixels(functional.normalize(map_, dim=-1), grid, height, width)
            return functional.normalize(pixels, dim=-1)

        return label_transfer_miou(self._scenes, features)


def text_miou(
    scenes: list[LabelledScene],
    features: PixelFeatures,
    embed: Callable[[list[str]], Tensor],
    background: tuple[str, ...],
) -> float:
    """Return the mean IoU of objects found by their captions, over all views of all scenes.

    A pixel belongs to the text it is nearest to by cosine, of the captions of the scene's objects
    and some for the background.
    """
    ious = []
    for scene in scenes:
        texts = embed([*(f"a {caption}" for caption in scene.captions), *background])
        for image, mask in zip(scene.images, scene.masks, strict=True):
            cosines = features(image)[::STRIDE, ::STRIDE] @ texts.T
            found = cosines.argmax(dim=-1) + 1
            truth = torch.from_numpy(mask[::STRIDE, ::STRIDE].copy()).long()
            ious += [
                iou(found == value, truth == value)
                for value in range(1, len(scene.captions) + 1)
                if bool((truth == value).any())
            ]
    return float(np.mean(ious))


class TextValidation:
    """Measures a network of images and texts while it trains, on validation scenes."""

    def __init__(self, n_scenes: int) -> None:
        self._scenes = held_out_scenes(n_scenes, "validation")

    @torch.inference_mode()
    def miou(self, network: Any, device: torch.device) -> float:  # noqa: ANN401
        """Return the IoU of objects found by their captions."""
        reader = DenseReader(network)
        prepare = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None)

        def features(image: ByteArray) -> Tensor:
            map_ = reader(prepare(torch.from_numpy(image)[None], device))[0].cpu()
            pixels = at_pixels(map_, reader.grid(), *image.shape[:2])
            return functional.normalize(pixels, dim=-1)

        def embed(texts: list[str]) -> Tensor:
            vectors = network.encode_text(tokenize(texts).to(device))
            return functional.normalize(vectors.float(), dim=-1).cpu()

        return text_miou(self._scenes, features, embed, BACKGROUND_TEXTS)
