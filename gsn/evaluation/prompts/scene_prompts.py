"""All prompts of one scene: those of files beside it, and strokes drawn where it has only masks."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from gsn.captures.images import Size
from gsn.evaluation.prompts.draw_prompts import draw_prompts, object_mask
from gsn.evaluation.prompts.prompt import PixelPrompt, TextPrompt
from gsn.evaluation.prompts.prompt_file import read_prompts

log = logging.getLogger(__name__)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class StrokeConfig:
    """Section `evaluate.strokes` of params.yaml: how strokes are drawn in masks."""

    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]  # one stroke for each
    width_px: PositiveInt

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"seeds {list(self.seeds)}: expected each once: equal strokes would hide the spread"
            )


def gather_prompts(
    folder: Path,
    view_names: Sequence[str],
    held_out: Sequence[bool],
    size: Size,
    source_masks: Mapping[int, npt.NDArray[np.uint8]],
    labels: Sequence[str],
    strokes: StrokeConfig,
) -> tuple[list[PixelPrompt], list[TextPrompt]]:
    """Read the prompts of a scene; an object that no file points at gets strokes from its mask.

    A prompt of a file without a reference gets the mask of its own view for one, where there is
    one: so thresholds of prompts by hand and of drawn ones are found alike.

    Args:
        folder: Of prompt files; it need not exist.
        view_names: Of all views.
        held_out: Which of them are not for prompts.
        size: H, W of the prepared pictures.
        source_masks: (H, W) each, by number of the view; of source views alone.
        labels: Names of the objects in masks.
        strokes: How to draw.

    Raises:
        PromptError: A file cannot be used.
        ValueError: A mask of a held-out view is among `source_masks`.
    """
    if wrong := [view_names[view] for view in source_masks if held_out[view]]:
        raise ValueError(f"source_masks: expected masks of source views, got held-out {wrong}")
    found = read_prompts(folder, view_names, held_out, size)
    known = {view_names[view]: mask for view, mask in source_masks.items()}
    pixels = [
        _with_reference(prompt, known.get(prompt.view), labels)
        for prompt in found
        if isinstance(prompt, PixelPrompt)
    ]
    texts = [prompt for prompt in found if isinstance(prompt, TextPrompt)]
    pointed_at = {prompt.label for prompt in pixels}
    done = [value for value, label in enumerate(labels, start=1) if label in pointed_at]
    rest = {view: np.where(np.isin(mask, done), 0, mask) for view, mask in source_masks.items()}
    drawn = draw_prompts(
        rest, view_names, labels, strokes.seeds, strokes.width_px, asked=pointed_at
    )
    return pixels + drawn, texts


def _with_reference(
    prompt: PixelPrompt, mask: npt.NDArray[np.uint8] | None, labels: Sequence[str]
) -> PixelPrompt:
    if mask is None or prompt.reference is not None:
        return prompt
    whole = object_mask(mask, labels, prompt.label)
    if not whole.any():
        return prompt
    if not any((whole & mask).any() for mask in (prompt.positive, prompt.box) if mask is not None):
        log.warning(
            "%s in view %s: no pixel of the prompt lies in the mask of that name, which is not "
            "used as its reference: is the object called otherwise in the masks?",
            *(prompt.label, prompt.view),
        )
        return prompt
    return replace(prompt, reference=whole)
