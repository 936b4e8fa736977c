"""Measure features without training on them: carry object labels from one view to the others.

Ten pixels of each object of one view are labelled, and as many of the background as of all objects
together. Each pixel of another view takes the majority of its nearest labelled pixels.
"""

import numpy as np
import torch
from torch import Tensor

from demo_teachers.held_out import STRIDE, LabelledScene, PixelFeatures, iou

LABELLED = 10  # pixels of each object
NEIGHBOURS = 3  # that vote
SMALLEST = 40  # pixels of an object in the labelled view; smaller ones are left out


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
            for value in sorted(set(labels.tolist()))
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
