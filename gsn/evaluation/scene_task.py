"""What is asked of one scene: views to score, prompts to follow, and the truth to compare with."""

import logging
from dataclasses import dataclass
from pathlib import Path

from gsn.captures.pack import Pack
from gsn.evaluation.config import EvaluateConfig, Split
from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.object_search import TextSearch
from gsn.evaluation.prompts.prompt import PixelPrompt, TextPrompt
from gsn.evaluation.prompts.scene_prompts import gather_prompts
from gsn.evaluation.scene_scores import held_out_views
from gsn.evaluation.segmentation.relevancy import TextSegmenter, names
from gsn.features.prompts import TextQuery

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneTask:
    """What is asked of one scene."""

    targets: list[int]  # held-out views
    prompts: list[PixelPrompt]  # in source views
    texts: TextSearch | None
    truth: TrueMasks
    n_frames: int  # of the film


def make_task(
    pack: Pack, prompt_folder: Path, query: TextQuery | None, config: EvaluateConfig, split: Split
) -> SceneTask:
    """Read what a scene is asked.

    Args:
        pack: Of the scene.
        prompt_folder: Prompt files by hand; it need not exist.
        query: Embedded texts, if the teacher reads any.
        config: Settings.
        split: What the scene is to the model.

    Raises:
        ValueError: A prompt cannot be used.
    """
    masks = {view: pack.mask(view) for view in range(pack.n_views) if pack.mask_present[view]}
    held_out = pack.held_out.tolist()
    # The only masks that prompts are drawn from are those of source views.
    of_sources = {view: mask for view, mask in masks.items() if not held_out[view]}
    pixels, texts = gather_prompts(
        prompt_folder,
        pack.view_names,
        held_out,
        pack.image_size,
        of_sources,
        pack.labels,
        config.strokes,
    )
    step = config.pixel_stride
    truth = TrueMasks(
        pack.name,
        pack.view_names,
        pack.labels,
        {view: mask[::step, ::step] for view, mask in masks.items()},
        config.boundary_tolerance,
    )
    return SceneTask(
        targets=held_out_views(held_out, config.max_views_per_scene.of(split)),
        prompts=pixels,
        texts=_text_search(texts, query, pack, config),
        truth=truth,
        n_frames=config.orbit.frames.of(split),
    )


def _text_search(
    texts: list[TextPrompt], query: TextQuery | None, pack: Pack, config: EvaluateConfig
) -> TextSearch | None:
    """Prepare texts of prompt files and embedded texts that name an object of the scene."""
    if query is None:
        if texts:
            log.warning(
                "%s: %d prompts are texts, which this teacher does not read", pack.name, len(texts)
            )
        return None
    asked = {prompt.label for prompt in texts}
    if unknown := sorted(asked - set(pack.labels)):
        log.warning("%s: no mask shows %s: no score of texts", pack.name, ", ".join(unknown))
    found = [
        TextPrompt(label, text)
        for label in dict.fromkeys(pack.labels)
        if label not in asked
        for text in query.texts
        if names(text, label)
    ]
    log.info("%s: texts name %d objects", pack.name, len({one.label for one in [*texts, *found]}))
    if not (texts or found):
        return None
    try:
        return TextSearch([*texts, *found], TextSegmenter(query, config.text))
    except ValueError as error:
        raise ValueError(f"{pack.name}: {error}") from error
