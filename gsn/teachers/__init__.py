"""Teachers by name. A new one is a file with a builder, and a line in `TEACHERS`."""

from collections.abc import Callable

import torch

from gsn.teachers.dino import DINO_VARIANTS, build_dino
from gsn.teachers.teacher import Teacher, TeacherConfig

Builder = Callable[[TeacherConfig, torch.device], Teacher]
TEACHERS: dict[str, Builder] = {name: build_dino for name in DINO_VARIANTS}


def load_teacher(config: TeacherConfig, device: torch.device) -> Teacher:
    """Build the teacher that `config` names, with its weights, on `device`.

    Raises:
        ValueError: The name is unknown, or the weights do not fit the network.
        FileNotFoundError: The weights are neither on this machine nor within reach.
    """
    if config.name not in TEACHERS:
        raise ValueError(f"unknown teacher {config.name!r}; known: {', '.join(sorted(TEACHERS))}")
    return TEACHERS[config.name](config, device)
