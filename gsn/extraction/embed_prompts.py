"""Texts, embedded once, beside the feature maps."""

import logging
from collections.abc import Sequence
from pathlib import Path

from gsn.atomic import remove
from gsn.features.prompts import PROMPTS_FILE, Prompts, PromptsError, load_prompts
from gsn.fingerprint import sha256_of_settings
from gsn.teachers.teacher import Teacher, TextTeacher

log = logging.getLogger(__name__)


def keep_prompts(teacher: Teacher, texts: Sequence[str], folder: Path) -> None:
    """Let the vectors of these texts lie in a folder, or none if the teacher reads no text."""
    path = folder / PROMPTS_FILE
    if not texts or not isinstance(teacher, TextTeacher):
        if texts:
            log.info("%s reads no text: %d prompts are not used", teacher.name, len(texts))
        remove(path)
        return
    # The whole teacher: how it sees photographs can decide how long a vector is.
    made_by: dict[str, object] = {"teacher": teacher.fingerprint, "texts": list(texts)}
    try:
        found = load_prompts(folder)
    except PromptsError as error:
        log.warning("%s; they are embedded again", error)
        found = None
    if found is None or sha256_of_settings(found.made_by) != sha256_of_settings(made_by):
        Prompts(tuple(texts), teacher.embed_texts(list(texts)).numpy(), made_by).save(path)
        log.info("%d prompts embedded by %s", len(texts), teacher.name)
