"""The film of one scene: colour, features and the mask of an object along a spiral."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from gsn.evaluation.config import OrbitConfig
from gsn.evaluation.report.film import write_film
from gsn.evaluation.report.pictures import Picture
from gsn.evaluation.report.scene_pages import ScenePages
from gsn.evaluation.views.render_cache import RenderCache
from gsn.evaluation.views.rendering import SceneRenderer
from gsn.evaluation.views.spiral import spiral
from gsn.fingerprint import sha256_of_array


def film_orbit(
    path: Path,
    renderer: SceneRenderer,
    renders: RenderCache,
    pages: ScenePages,
    n_frames: int,
    config: OrbitConfig,
) -> None:
    """Write the film; frames that lie in `renders` are not rendered again."""
    scene = renderer.scene
    sources = scene.cameras[scene.source_pool]
    cameras = spiral(sources, scene.near, scene.far, n_frames)
    label = pages.label_for_film()

    def frames() -> Iterator[Picture]:
        for number in tqdm(range(len(cameras)), desc="orbit", unit="frame", leave=False):
            camera = cameras[torch.tensor([number])]
            # The fingerprint knows the cameras of photos, but neither this one nor the stride.
            pose = sha256_of_array(camera.cam_to_world.cpu().numpy())[:12]
            name = f"orbit {number} of {n_frames}, stride {config.pixel_stride}, pose {pose}"
            view = renders.get(name, partial(renderer.camera, camera, config.pixel_stride))
            yield pages.film_frame(view, label)

    write_film(path, frames(), config.frames_per_second)
