"""Prompt files of a scene: `prompts/<name>.yaml` and the PNG pictures beside them, both ways.

    version: 1
    object: cup                # a label of the masks, or any name: that is pictured, not scored
    view: DSC_0423             # a source view, never a held-out one
    image_size_px: [504, 378]  # width, height of the image that all pixels below are of
    positive:                  # any of these; what they mark together
      strokes: [cup.png]       # RGBA: what is not transparent; grey, RGB: what is not black
      lines: [[[10, 20], [40, 25], [60, 60]]]  # of points (x, y)
      line_width_px: 3         # an even width draws as the odd one above
      points: [[100.5, 80]]
      rectangle: [40, 60, 120, 140]  # x0, y0, x1, y1 around the object; both belong to it
      box: cup_area.png        # the same, as an area of any shape
    negative: ...              # the same keys; may be absent
    reference: cup_mask.png    # the whole object; without `positive` it is the prompt, too

A positive rectangle or box may hold background, too: which of its pixels are the object is found by
what lies outside of it. Under `negative` every pixel of it counts, as under strokes.

Or, by words: `version`, `object` and `text`.

The image may have any size of the aspect of the prepared pictures. An integer coordinate is the
centre of a pixel. What `negative` marks is taken out of `positive`, as a correction of it. Where
the two meet in one pixel only after shrinking, it is negative, unless no other is positive.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from gsn.atomic import complete_or_absent
from gsn.captures.images import Size
from gsn.checks import composed
from gsn.evaluation.prompts.form_masks import masks_of_form
from gsn.evaluation.prompts.prompt import PixelPrompt, TextPrompt
from gsn.evaluation.prompts.prompt_form import (
    PromptError,
    TextForm,
    check_prompt_name,
    read_form,
)

log = logging.getLogger(__name__)
Mask = npt.NDArray[np.bool_]


def read_prompts(
    folder: Path,
    view_names: Sequence[str],  # of all views
    held_out: Sequence[bool],  # of each view
    size: Size,  # H, W of the prepared pictures
) -> list[PixelPrompt | TextPrompt]:
    """Read the prompt files of a scene in the order of their names.

    Files for one object by pixels get `draw` 0, 1, ... in that order.

    Returns:
        Masks at `size`; empty without a folder.

    Raises:
        PromptError: A file is broken, points at no source view, or marks no pixel of the image.
    """
    sources = {name: not held for name, held in zip(view_names, held_out, strict=True)}
    n_draws: Counter[str] = Counter()
    prompts: list[PixelPrompt | TextPrompt] = []
    for path in _list_files(folder):
        form = read_form(path)
        if isinstance(form, TextForm):
            prompts.append(TextPrompt(form.object, form.text))
            continue
        view = _find_view(path, form.view, sources)
        masks = masks_of_form(path, form, size)
        prompts.append(
            PixelPrompt(
                label=form.object,
                draw=n_draws[form.object],
                view=view,
                positive=masks.positive,
                negative=masks.negative,
                reference=masks.reference,
                box=masks.box,
            )
        )
        n_draws[form.object] += 1
    return prompts


def write_prompt(folder: Path, name: str, prompt: PixelPrompt) -> Path:
    """Write a prompt as a file to look at, to change and to use again.

    `<name>.yaml` comes last, after `<name>.positive.png` and so on (white on black). The number of
    the draw is not written: files of one object are counted in the order of their names.

    Raises:
        ValueError: The name is no plain file name.
    """
    check_prompt_name(name)
    height, width = prompt.size
    entries: dict[str, object] = {"version": 1, "object": prompt.label, "view": prompt.view}
    entries["image_size_px"] = [width, height]

    def picture(key: str, mask: Mask) -> str:
        _write_png(folder / f"{name}.{key}.png", mask)
        return f"{name}.{key}.png"

    positive: dict[str, object] = {}
    if prompt.positive is not None:
        positive["strokes"] = [picture("positive", prompt.positive)]
    if prompt.box is not None:
        positive["box"] = picture("box", prompt.box)
    entries["positive"] = positive
    if prompt.negative is not None:
        entries["negative"] = {"strokes": [picture("negative", prompt.negative)]}
    if prompt.reference is not None:
        entries["reference"] = picture("reference", prompt.reference)
    path = folder / f"{name}.yaml"
    with complete_or_absent(path) as partial:
        text = yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, allow_unicode=True)
        partial.write_text(text, encoding="utf-8")
    return path


def _list_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    shown = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in shown:
        if path.suffix.lower() in (".yml", ".yaml") and path.suffix != ".yaml":
            raise PromptError(f"{path}: expected prompt files to end in '.yaml': rename it")
    return [path for path in shown if path.suffix == ".yaml" and path.is_file()]


def _find_view(path: Path, view: str, sources: dict[str, bool]) -> str:
    """Return the source view of this name, in whichever coding of its letters."""
    for name, is_source in sources.items():
        if composed(name) == composed(view):
            view = name
            if is_source:
                return name
    kind = "a held-out view, which no prompt may see" if view in sources else "no view of the scene"
    raise PromptError(
        f"{path}: key 'view': {view!r} is {kind}, expected a source view: "
        f"{', '.join(name for name, is_source in sources.items() if is_source)}"
    )


def _write_png(path: Path, mask: Mask) -> None:
    data = cv2.imencode(".png", np.where(mask, 255, 0).astype(np.uint8))[1]
    with complete_or_absent(path) as partial:
        partial.write_bytes(data.tobytes())
