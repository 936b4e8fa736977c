"""Finding what a text names, by contrast with other phrases."""

from collections.abc import Collection
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from gsn.checks import check_shape
from gsn.evaluation.segmentation.segmenter import Segmentation
from gsn.features.prompts import TextQuery

FloatArray = npt.NDArray[np.float64]

ARTICLES = ("a ", "an ", "the ")


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class TextConfig:
    """Section `evaluate.text` of params.yaml."""

    neutral: tuple[str, ...]  # phrases that name no object; embedded by the teacher as well
    competing: bool  # all other embedded prompts are contrast too
    temperature: Annotated[float, Field(gt=0)]  # times the cosines; 10 in the code of LERF
    threshold: Annotated[float, Field(ge=0, lt=1)]  # 0.5: more like the text than like any phrase

    def __post_init__(self) -> None:
        if not self.neutral and not self.competing:
            raise ValueError(
                "nothing to compare a text with: expected phrases in 'neutral', or 'competing: "
                "true'"
            )


def relevancy(
    text: FloatArray,  # (...)
    contrast: FloatArray,  # (..., P), at least one phrase
    temperature: float,
) -> FloatArray:  # (...)
    """Return how much more like a text than like other phrases a feature is, in (0, 1).

    LERF (arXiv:2303.09553, section 4): the pairwise softmax of the text against each phrase i, of
    which the least counts, min over i of exp(τ q) / (exp(τ q) + exp(τ c_i)). It is the logistic
    function of τ (q - max c_i).

    Args:
        text: Cosine q of each feature with the text.
        contrast: Its cosines c_i with the phrases.
        temperature: τ; the paper has none, its code 10.
    """
    lead = temperature * (text - contrast.max(axis=-1))
    return np.asarray(np.exp(-np.logaddexp(0.0, -lead)))  # never overflows


class TextSegmenter:
    """Finds what embedded texts name in feature maps of a PCA basis."""

    def __init__(self, query: TextQuery, config: TextConfig) -> None:
        """Check that the neutral phrases are embedded.

        Raises:
            ValueError: One of them is not.
        """
        self.query = query
        self.config = config
        for phrase in config.neutral:
            self._place(phrase)

    def contrast(self, text: str, synonyms: Collection[str] = ()) -> tuple[str, ...]:
        """Return the phrases that a text is compared with, none of which names the same object.

        Args:
            text: One of the embedded prompts.
            synonyms: Other words for the same object: its label, other texts.

        Raises:
            ValueError: The text is not embedded, or no phrase is left.
        """
        self._place(text)
        same = [without_article(one) for one in (text, *synonyms)]
        pool = self.query.texts if self.config.competing else self.config.neutral
        found = tuple(one for one in pool if not any(names(one, label) for label in same))
        if not found:
            raise ValueError(
                f"{text!r}: no other phrase to compare it with; expected at least one neutral or "
                f"competing prompt, found {list(self.query.texts)} with neutral "
                f"{list(self.config.neutral)}: embed another with the teacher's"
            )
        return found

    def find(
        self,
        features: Tensor,  # (h, w, D)
        text: str,
        synonyms: Collection[str] = (),
    ) -> Segmentation:
        """Find what a text names; see `contrast` for the arguments.

        A pixel belongs to it if its relevancy is above the threshold, not at it: a pixel without
        any feature is exactly as much like one text as like another.
        """
        check_shape("features", features, "h w D")
        phrases = [self._place(phrase) for phrase in self.contrast(text, synonyms)]
        cosines = self.query.cosines(features.float().cpu().numpy())
        scores = relevancy(
            cosines[..., self._place(text)], cosines[..., phrases], self.config.temperature
        )
        return Segmentation(np.asarray(scores > self.config.threshold), scores)

    def _place(self, text: str) -> int:
        if text not in self.query.texts:
            raise ValueError(
                f"not among the embedded prompts: {text!r}; found {list(self.query.texts)}: embed "
                "it with the teacher's"
            )
        return self.query.texts.index(text)


def names(prompt: str, label: str) -> bool:
    """Say whether a prompt is the label of an object, with or without an article before it."""
    prompt, label = prompt.strip().casefold(), label.strip().casefold()
    return prompt in (label, *(article + label for article in ARTICLES))


def without_article(text: str) -> str:
    """Return the label that a text names."""
    text = text.strip().casefold()
    for article in ARTICLES:
        if text.startswith(article):
            return text.removeprefix(article).lstrip()
    return text
