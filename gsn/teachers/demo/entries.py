"""The demo teachers in the registry: `dino-demo` and `clip-demo`.

Their `hub` weights are the files beside this module; DINO-DEMO.md and CLIP-DEMO.md there say how
they were trained, how well they do and where they fail.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gsn.fingerprint import sha256_of_code
from gsn.teachers.clip_teacher import ClipTeacher
from gsn.teachers.demo import networks, words
from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsn.teachers.teacher import Teacher, TeacherCard, TeacherConfig, TeacherEntry
from gsn.teachers.vision_transformer import VisionTransformerTeacher
from gsn.teachers.weights import build_network, load_strictly, read_weights

FOLDER = Path(__file__).parent


def build_dino_demo(config: TeacherConfig, device: torch.device) -> Teacher:
    """Build the small DINO."""
    network, weights = _shipped(config, networks.create_dino_demo)
    preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, config.long_side_px)
    return VisionTransformerTeacher(
        config.name, network, weights, device, _code(), preprocessing, config.vit
    )


def build_clip_demo(config: TeacherConfig, device: torch.device) -> Teacher:
    """Build the small CLIP with its own words."""
    network, weights = _shipped(config, lambda: networks.create_clip_demo(len(words.WORDS)))
    mean_std = IMAGENET_MEAN, IMAGENET_STD
    return ClipTeacher(
        config.name, network, words.tokenize, *mean_std, weights, config, device, _code()
    )


def _shipped(config: TeacherConfig, create: Callable[[], Any]) -> tuple[Any, dict[str, object]]:
    path = FOLDER / f"{config.name}.safetensors"

    def with_weights(trained: bool) -> Any:  # noqa: ANN401
        network = create()
        if trained:
            load_strictly(network, read_weights(path), path)
        return network

    return build_network(config, with_weights, f"{path.name} by installing this package again")


def _code() -> dict[str, str]:
    return {"demo": sha256_of_code(sys.modules[__name__], networks, words)}


DEMO = {
    "dino-demo": TeacherEntry(
        TeacherCard("demo", networks.WIDTH, networks.PATCH_PX, 2_744_640, "MIT", "this package"),
        build_dino_demo,
    ),
    "clip-demo": TeacherEntry(
        TeacherCard(
            "demo", networks.JOINT_CHANNELS, networks.PATCH_PX, 2_324_544, "MIT", "this package"
        ),
        build_clip_demo,
    ),
}
