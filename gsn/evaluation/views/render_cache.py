"""Rendered views on disk: the costly part of an evaluation, kept while what made it is the same.

    <folder>/<scene>/<view>.npz      one rendered view
        made_by  hash of all that decides it, see `fingerprint_renders`
        rgb (h, w, 3) float32, feature (h, w, D) float16, depth (h, w) float32

So another threshold, stroke or metric renders nothing, and a killed run goes on where it was. The
files are sealed (`gsn.seal`): a damaged view is rendered again. The folder can be deleted at any
time.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import gsn.evaluation.views.rendering
import gsn.geometry
import gsn.model
from gsn.atomic import complete_or_absent
from gsn.evaluation.views.rendering import RenderConfig, View
from gsn.fingerprint import sha256_of_array, sha256_of_code, sha256_of_settings
from gsn.model.scene import Scene
from gsn.seal import check_seal, write_sealed


def fingerprint_renders(model_sha256: str, scene: Scene, config: RenderConfig) -> str:
    """Hash what decides the renders of a scene: weights, views, cameras, teacher maps, code.

    The number of rays at a time and the device do not count.

    Args:
        model_sha256: Of the model file.
        scene: To render.
        config: How.
    """
    tensors = {
        "images": scene.images,
        "held_out": scene.held_out,
        "intrinsics": scene.cameras.intrinsics,
        "cam_to_world": scene.cameras.cam_to_world,
        "bounds": torch.stack([scene.near, scene.far]),
    }
    if scene.teacher is not None:
        tensors["teacher"] = scene.teacher.values
    return sha256_of_settings(
        {
            "model": model_sha256,
            "scene": {
                name: sha256_of_array(value.cpu().numpy()) for name, value in tensors.items()
            },
            # Renders are found by the names of views: another photo may carry one of them now.
            "view_names": list(scene.view_names),
            "source_views": config.source_views,
            "pixel_stride": config.pixel_stride,
            "code": sha256_of_code(gsn.geometry, gsn.model, gsn.evaluation.views.rendering),
        }
    )


class RenderCache:
    """Rendered views of one scene."""

    def __init__(self, folder: Path, made_by: str, device: torch.device) -> None:
        self.n_made = 0
        self.n_reused = 0
        self._folder = folder
        self._made_by = made_by
        self._device = device

    def get(self, name: str, render: Callable[[], View]) -> View:
        """Return the view of this name as it lies on disk, rendered first if it is not there.

        What comes back was rounded to what the file holds, whether it was rendered now or earlier.
        """
        path = self._folder / f"{name}.npz"
        found = self._read(path)
        if found is None:
            self._write(path, render())
            found = self._read(path)
            if found is None:
                raise OSError(f"{path}: written, but not readable; is the disk full or failing?")
            self.n_made += 1
        else:
            self.n_reused += 1
        return found

    def _read(self, path: Path) -> View | None:
        """Read a view; None if there is none, of another fingerprint, or a damaged one."""
        if not path.is_file():
            return None
        try:
            check_seal(path)
            with np.load(path, allow_pickle=False) as file:
                if str(file["made_by"]) != self._made_by:
                    return None
                arrays = {name: file[name] for name in file.files if name != "made_by"}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

        def tensor(name: str) -> Tensor | None:
            if name not in arrays:
                return None
            return torch.from_numpy(arrays[name]).to(self._device).float()

        rgb = tensor("rgb")
        return None if rgb is None else View(rgb, tensor("feature"), tensor("depth"))

    def _write(self, path: Path, view: View) -> None:
        tensors = {
            "rgb": view.rgb.float(),
            "feature": None if view.feature is None else view.feature.half(),
            "depth": None if view.depth is None else view.depth.float(),
        }
        arrays: dict[str, npt.NDArray[np.generic]] = {
            name: value.cpu().numpy() for name, value in tensors.items() if value is not None
        }
        arrays["made_by"] = np.array(self._made_by)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        with complete_or_absent(path) as partial:
            write_sealed(partial, content.getbuffer())
