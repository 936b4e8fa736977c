"""A prepared scene in tensors: what training and evaluation take views from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gsn.captures.pack import Pack, open_pack
from gsn.features.store import FeatureMaps
from gsn.features.targets import load_targets
from gsn.fingerprint import sha256_of_array
from gsn.geometry.cameras import Cameras
from gsn.model.network import GsnModel
from gsn.model.sources import SourceViews, TeacherMaps


@dataclass(frozen=True)
class Scene:
    """All views of one scene, on one device.

    For training, images and teacher maps may lie on the host while the rest is on the device
    (`gsn.training.residence`).
    """

    name: str
    view_names: tuple[str, ...]
    held_out: Tensor  # (V,), bool, on the CPU
    cameras: Cameras
    images: Tensor  # (V, 3, H, W), uint8
    near: Tensor  # ()
    far: Tensor  # ()
    teacher: TeacherMaps | None = None  # float16, PCA coefficients, not normalised
    teacher_name: str = ""  # for titles; says so if its weights are untrained
    basis: tuple[str, str] | None = None  # file name and sha256 of the basis of `teacher`

    @property
    def device(self) -> torch.device:
        """Where the scene is computed with."""
        return self.cameras.intrinsics.device

    @cached_property
    def host_centres(self) -> Tensor:
        """Camera centres on the CPU, (V, 3), so that choosing views asks no device."""
        return self.cameras.centres.cpu()

    @property
    def source_pool(self) -> Tensor:
        """Indices of the views that may be sources: those not held out."""
        return torch.nonzero(~self.held_out)[:, 0]

    def teacher_maps(self, views: Tensor) -> TeacherMaps | None:
        """Return the teacher's maps of some views, every cell a vector of unit length."""
        if self.teacher is None:
            return None
        return unit_maps(TeacherMaps(self.teacher.values[views], self.teacher.grid))

    def encode(self, model: GsnModel, views: Tensor) -> SourceViews:
        """Make source views of some views of the scene."""
        images = self.images[views].float() / 255
        return model.encode(self.cameras[views], images, self.teacher_maps(views))


def unit_maps(maps: TeacherMaps) -> TeacherMaps:
    """Return the same maps in float32, every cell a vector of unit length."""
    return TeacherMaps(functional.normalize(maps.values.float(), dim=1), maps.grid)


def load_scene(pack_path: Path, device: torch.device, targets: Path | None = None) -> Scene:
    """Read a scene onto a device, with its reduced teacher maps if their folder is given.

    Raises:
        FileNotFoundError: The pack or the targets are missing.
        ValueError: They are damaged, or not of the same views.
    """
    with open_pack(pack_path) as pack:
        height, width = pack.image_size
        cameras = Cameras(
            torch.from_numpy(pack.intrinsics).float(),
            torch.from_numpy(pack.cam_to_world).float(),
            height,
            width,
        )
        teacher, teacher_name, basis = None, "", None
        if targets is not None:
            found = load_targets(targets, pack.name)
            _check_views(found.maps, pack)
            maps = np.stack([found.maps.read(view) for view in range(pack.n_views)])
            values = torch.from_numpy(maps).permute(0, 3, 1, 2).contiguous()
            teacher = TeacherMaps(values.to(device), found.maps.header.cell_grid)
            teacher_name = found.teacher
            basis = found.basis_file, found.basis.sha256
        return Scene(
            name=pack.name,
            view_names=pack.view_names,
            held_out=torch.from_numpy(pack.held_out),
            cameras=cameras.to(device),
            images=torch.from_numpy(pack.images()).permute(0, 3, 1, 2).contiguous().to(device),
            near=torch.tensor(pack.near, dtype=torch.float32, device=device),
            far=torch.tensor(pack.far, dtype=torch.float32, device=device),
            teacher=teacher,
            teacher_name=teacher_name,
            basis=basis,
        )


def _check_views(maps: FeatureMaps, pack: Pack) -> None:
    header = maps.header
    if header.view_names != pack.view_names or header.image_size != pack.image_size:
        raise ValueError(
            f"{maps.path}: maps of {len(header.view_names)} views of {header.image_size}, but "
            f"{pack.path} has {pack.n_views} of {pack.image_size}, or others: the targets are of "
            "another pack; run `dvc repro`"
        )


@dataclass(frozen=True)
class TargetSet:
    """What the targets of several scenes have in common, and what tells them from others."""

    channels: int
    basis_sha256: dict[str, str]  # by name of the basis file; one if all scenes share a basis
    sha256: dict[str, str]  # of the maps, by scene


def describe_targets(scenes: list[Scene]) -> TargetSet:
    """Check that the targets of all scenes can be trained together, and hash them.

    Raises:
        ValueError: A scene has none, or they differ in their number of channels.
    """
    channels = {scene.name: scene.teacher.values.shape[1] for scene in scenes if scene.teacher}
    if len(channels) < len(scenes) or len(set(channels.values())) != 1:
        raise ValueError(f"channels of the targets: {channels}; run `dvc repro reduce`")
    return TargetSet(
        channels=next(iter(channels.values())),
        basis_sha256=dict(scene.basis for scene in scenes if scene.basis),
        sha256={
            scene.name: sha256_of_array(scene.teacher.values.cpu().numpy())
            for scene in scenes
            if scene.teacher
        },
    )
