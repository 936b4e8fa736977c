"""Where the data set lives: on the device as far as it fits, else in pinned host memory.

A batch is the same either way. Cameras and depth bounds are on the device always; of a scene on the
host, each step copies the views that it needs straight out of the pinned tensors: nothing is
gathered on the host, and the copies need no waiting.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gsn.model.scene import Scene, load_scene
from gsn.model.sources import TeacherMaps

log = logging.getLogger(__name__)
DEVICE_SHARE = 0.6  # of the free memory; the rest is for activations, gradients and the optimiser
_GIB = 2**30


class Residence:
    """Places scenes one by one, first come first served."""

    def __init__(self, device: torch.device, limit_bytes: int | None = None) -> None:
        """Prepare an empty residence.

        Args:
            device: Where batches are wanted.
            limit_bytes: Most bytes of photographs and maps on a CUDA device; None: a share of the
                memory that is free now.
        """
        self.device = device
        self.limit_bytes: float = math.inf  # on the CPU there is no other place
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            self.limit_bytes = DEVICE_SHARE * free if limit_bytes is None else limit_bytes
        self.resident_bytes = 0
        self.host_bytes = 0

    def place(self, scene: Scene) -> Scene:
        """Return the scene with its photographs and maps where they are to stay."""
        n_bytes = stored_bytes(scene)
        if self.resident_bytes + n_bytes <= self.limit_bytes:
            self.resident_bytes += n_bytes
            return self._moved(scene, scene.images.to(self.device), self._on_device(scene.teacher))
        self.host_bytes += n_bytes
        return self._moved(scene, scene.images.pin_memory(), _pinned(scene.teacher))

    def _on_device(self, maps: TeacherMaps | None) -> TeacherMaps | None:
        return maps and TeacherMaps(maps.values.to(self.device), maps.grid)

    def _moved(self, scene: Scene, images: Tensor, teacher: TeacherMaps | None) -> Scene:
        return replace(
            scene,
            cameras=scene.cameras.to(self.device),
            images=images,
            near=scene.near.to(self.device),
            far=scene.far.to(self.device),
            teacher=teacher,
        )


def load_scenes(
    packs: Sequence[Path],
    device: torch.device,
    targets: Path | None = None,
    limit_bytes: int | None = None,
) -> list[Scene]:
    """Read the scenes to train on, each to where it is to live.

    Args:
        packs: One file for each scene.
        device: Where batches are wanted.
        targets: Folder of reduced teacher maps; None: colour alone.
        limit_bytes: See `Residence`.
    """
    residence = Residence(device, limit_bytes)
    scenes = [residence.place(load_scene(pack, torch.device("cpu"), targets)) for pack in packs]
    log.info(
        "%d scenes: %.2f GiB of photographs and maps on %s, %.2f GiB in pinned host memory",
        *(len(scenes), residence.resident_bytes / _GIB, device, residence.host_bytes / _GIB),
    )
    return scenes


def stored_bytes(scene: Scene) -> int:
    """Return the size of the photographs and the teacher's maps of a scene."""
    return scene.images.nbytes + (scene.teacher.values.nbytes if scene.teacher else 0)


def to_device(numbers: Tensor, device: torch.device) -> Tensor:
    """Copy a few numbers from the CPU without waiting for the copy."""
    if device.type != "cuda":
        return numbers.to(device)
    return numbers.pin_memory().to(device, non_blocking=True)


def fetch_views(
    values: Tensor,  # (N, …), on the device of `there`, or in pinned host memory
    here: Tensor,  # (V,), indices, on the CPU
    there: Tensor,  # (V,), the same on the device
) -> Tensor:  # (V, …), on the device
    """Return some views of a scene's photographs or maps."""
    if values.device == there.device:
        return values[there]
    fetched = torch.empty((len(here), *values.shape[1:]), dtype=values.dtype, device=there.device)
    for place, view in zip(fetched, here.tolist(), strict=True):
        place.copy_(values[view], non_blocking=True)
    return fetched


def _pinned(maps: TeacherMaps | None) -> TeacherMaps | None:
    return maps and TeacherMaps(maps.values.pin_memory(), maps.grid)
