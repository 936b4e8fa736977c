"""What a teacher is: photographs in, one feature vector a cell out, and what made the maps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor

from gsn.geometry.cell_grid import CellGrid

HUB = "hub"
SEEDED = "seeded"
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Facet = Literal["token", "query", "key", "value"]


@config_dataclass(frozen=True, config=STRICT)
class VitConfig:
    """Section `teacher.vit` of params.yaml: what is read from a DINO, DINOv2 or DINOv3."""

    layers: Annotated[list[int], Field(min_length=1)]  # blocks, from 0; -1 is the last one
    facet: Facet  # tokens after the block, or what its attention makes of them
    stride_px: PositiveInt | None  # from patch to patch; null: the patch size, no overlap


@config_dataclass(frozen=True, config=STRICT)
class ClipConfig:
    """Section `teacher.clip` of params.yaml: how CLIP and SigLIP see parts of a photograph."""

    mode: Literal["dense", "windows"]  # patch tokens in the joint space; or windows, as published
    window_px: Annotated[list[PositiveInt], Field(min_length=1)]  # sides of windows; 96 published
    window_stride_px: PositiveInt  # from window to window; 48 published
    merge: Literal["mean", "concat"]  # of windows of several sizes


@config_dataclass(frozen=True, config=STRICT)
class TeacherConfig:
    """Section `teacher` of params.yaml."""

    name: str  # one of gsn.teachers.TEACHERS
    weights: str  # hub: trained, shipped or downloaded; seeded: untrained; else a file's path
    seed: int  # of the untrained weights; not used by the others
    long_side_px: PositiveInt | None  # photographs resized for the teacher; null: as they are
    vit: VitConfig  # not used by other families
    clip: ClipConfig  # not used by other families
    prompts: list[str]  # texts to embed, if the teacher reads any

    def __post_init__(self) -> None:
        """Refuse texts that are empty or come twice."""
        if any(not text.strip() for text in self.prompts):
            raise ValueError("'prompts' holds an empty text")
        if twice := sorted({text for text in self.prompts if self.prompts.count(text) > 1}):
            raise ValueError(f"'prompts' holds {twice} more than once")


class Teacher(Protocol):
    """A frozen network that turns photographs into feature maps."""

    name: str
    channels: int
    trained: bool  # False for `seeded` weights: say so wherever numbers made with it appear
    fingerprint: dict[str, object]  # all that changes a map, as plain values with a JSON form

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of the map of a photograph of this size."""

    def grid(self, height: int, width: int) -> CellGrid:
        """Return where the cells of that map lie in the photograph."""

    def __call__(
        self,
        images: Tensor,  # (B, H, W, 3) uint8, RGB, on any device
    ) -> Tensor:  # (B, h, w, C) float32, on the teacher's device
        """Compute the maps."""

    def compile(self) -> None:
        """Make later passes faster, at the price of a slow first one."""


@runtime_checkable
class TextTeacher(Protocol):
    """A teacher whose features share a space with texts."""

    def embed_texts(self, texts: list[str]) -> Tensor:  # (P, C) float32, unit length, on the CPU
        """Embed texts, to be compared with cells by their cosine."""


@dataclass(frozen=True)
class TeacherCard:
    """What a user wants to know before choosing a teacher."""

    family: str
    channels: int  # of one layer
    patch_px: int
    parameters: int  # of the network that sees the photographs
    licence: str  # of the trained weights
    weights_from: str  # where `hub` takes them from


@dataclass(frozen=True)
class TeacherEntry:
    """A line of the registry."""

    card: TeacherCard
    build: Callable[[TeacherConfig, torch.device], Teacher]
