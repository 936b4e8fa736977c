"""Measure features that share a space with texts: find objects by their captions.

A pixel belongs to the text it is nearest to by cosine, of the captions of the scene's objects and
some for the background. No threshold, no ground truth.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from demo_teachers.held_out import STRIDE, LabelledScene, PixelFeatures, iou

BACKGROUND_TEXTS = ("the background", "a table and a wall")


def text_miou(
    scenes: list[LabelledScene],
    features: PixelFeatures,
    embed: Callable[[list[str]], Tensor],  # texts → (P, C), unit length
) -> float:
    """Return the mean IoU of objects found by their captions, over all views of all scenes."""
    ious = []
    for scene in scenes:
        texts = embed([*(f"a {caption}" for caption in scene.captions), *BACKGROUND_TEXTS])
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
