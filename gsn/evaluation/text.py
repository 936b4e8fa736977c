"""Segmentation by texts: each pixel goes to the prompt that its feature is closest to."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gsn.checks import check_shape
from gsn.evaluation.metrics.mask_metrics import score_mask
from gsn.evaluation.metrics.mean_scores import mean_scores
from gsn.evaluation.objects import Labels
from gsn.features.prompts import TextQuery

ARTICLES = ("a ", "an ", "the ")
KEYS = {"iou": "text_iou", "accuracy": "text_accuracy", "average_precision": "text_ap"}


def names(prompt: str, label: str) -> bool:
    """Say whether a prompt is the label of an object, with or without an article before it."""
    prompt, label = prompt.strip().casefold(), label.strip().casefold()
    return prompt in (label, *(article + label for article in ARTICLES))


@dataclass(frozen=True)
class TextSegmentation:
    """Prompts and the objects that they name.

    A pixel belongs to the prompt of highest cosine, among all prompts; there is no threshold, and
    no mask takes part. The score of a pixel for an object is the cosine with its prompt less the
    best of the others. Objects of one label are one thing to a text, and are scored as one.
    """

    query: TextQuery
    labels: tuple[str, ...]  # of the objects 1, 2, ... in masks

    @property
    def named(self) -> dict[str, list[int]]:
        """The labels that a prompt names, with the positions of their prompts."""
        found = {
            label: [k for k, prompt in enumerate(self.query.texts) if names(prompt, label)]
            for label in self.labels
        }
        return {label: prompts for label, prompts in found.items() if prompts}

    def score(
        self,
        feature: Tensor,  # (h, w, D)
        mask: Labels,  # (h, w)
    ) -> dict[str, float]:
        """Average over the named objects that the view shows; empty if there are none."""
        check_shape("mask", mask, "h w", check_shape("feature", feature, "h w D"))
        cosines = self.query.cosines(feature.float().cpu().numpy())
        rows = []
        for label, prompts in self.named.items():
            values = [k for k, other in enumerate(self.labels, start=1) if other == label]
            truth = np.isin(mask, values)
            if truth.any():
                others = np.delete(cosines, prompts, axis=-1)
                best_other = others.max(axis=-1, initial=-1.0)
                scores = cosines[..., prompts].max(axis=-1) - best_other
                rows.append(score_mask(scores > 0, truth, scores))
        return {KEYS[name]: value for name, value in mean_scores(rows).items()}
