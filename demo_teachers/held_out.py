"""Held-out scenes of the default run's kind, and features at their pixels, to measure with."""

from collections.abc import Callable
from dataclasses import dataclass

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
from gsn.teachers.teacher import Teacher

STRIDE = 2  # every so many-th pixel is scored
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
        scenes.append(
            LabelledScene([p.rgb for p in pictures], [p.mask for p in pictures], captions)
        )
    return scenes


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
        pixels = at_pixels(
            functional.normalize(map_, dim=-1), teacher.grid(height, width), height, width
        )
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
