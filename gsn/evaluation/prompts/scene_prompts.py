"""All prompts of one scene: those of files beside it, and strokes drawn where it has only masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from gsn.captures.images import Size
from gsn.evaluation.prompts.draw_prompts import draw_prompts
from gsn.evaluation.prompts.prompt import PixelPrompt, TextPrompt
from gsn.evaluation.prompts.prompt_file import read_prompts


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class StrokeConfig:
    """Section `evaluate.strokes` of params.yaml: how strokes are drawn in masks."""

    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]  # one stroke for each
    width_px: PositiveInt


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
    pixels = [prompt for prompt in found if isinstance(prompt, PixelPrompt)]
    texts = [prompt for prompt in found if isinstance(prompt, TextPrompt)]
    pointed_at = {prompt.label for prompt in pixels}
    done = [value for value, label in enumerate(labels, start=1) if label in pointed_at]
    rest = {view: np.where(np.isin(mask, done), 0, mask) for view, mask in source_masks.items()}
    drawn = draw_prompts(
        rest, view_names, labels, strokes.seeds, strokes.width_px, asked=pointed_at
    )
    return pixels + drawn, texts
