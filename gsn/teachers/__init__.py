"""Teachers by name. A new family is a file with its entries, and a line in `TEACHERS`."""

import torch

from gsn.teachers.clip import CLIP
from gsn.teachers.demo.entries import DEMO
from gsn.teachers.dino import DINO
from gsn.teachers.dinov2 import DINOV2
from gsn.teachers.dinov3 import DINOV3
from gsn.teachers.sam import SAM
from gsn.teachers.teacher import Teacher, TeacherConfig, TeacherEntry

TEACHERS: dict[str, TeacherEntry] = {
    **DEMO,
    **DINO,
    **DINOV2,
    **DINOV3,
    **CLIP,
    **SAM,
}


def load_teacher(config: TeacherConfig, device: torch.device) -> Teacher:
    """Build the teacher that `config` names, with its weights, on `device`.

    Raises:
        ValueError: The name is unknown, the weights do not fit the network, or an option does not
            fit the teacher.
        FileNotFoundError: The weights are neither on this machine nor within reach.
    """
    if config.name not in TEACHERS:
        raise ValueError(f"unknown teacher {config.name!r}; known: {', '.join(sorted(TEACHERS))}")
    return TEACHERS[config.name].build(config, device)
