"""Whole views as the model renders them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gsn.geometry.cameras import Cameras
from gsn.geometry.rays import pixel_grid, pixel_rays
from gsn.geometry.source_views import nearest_views
from gsn.model.network import GsnModel, pick_autocast
from gsn.model.scene import Scene
from gsn.model.sources import SourceViews, TeacherMaps

# Rays rendered at a time; the result does not depend on it. On a CPU few enough for its cache, on a
# GPU as many as half of its free memory holds.
_CPU_RAYS = 128
_MOST_RAYS = 16384
# For each sample of a ray and source view. Measured with a feature head, 192 samples and 10 views:
# 0.9 MiB a ray with kernels, so twice that; the readable modules take 25 MiB when they train.
_BYTES = {True: 1000, False: 5000}


@dataclass(frozen=True)
class View:
    """What is seen in one view, at every `stride`-th pixel."""

    rgb: Tensor  # (h, w, 3), in [0, 1]
    feature: Tensor | None  # (h, w, D), unit length; 0 where nothing is known
    depth: Tensor | None = None  # (h, w), along the optical axis


@dataclass(frozen=True)
class RenderConfig:
    """How views are rendered."""

    source_views: int  # nearest ones
    pixel_stride: int  # every so many-th column and row
    chunk_rays: int  # at a time; the result does not depend on it


def pick_chunk_rays(device: torch.device, model: GsnModel, source_views: int) -> int:
    """Return how many rays are rendered at a time."""
    if device.type != "cuda":
        return _CPU_RAYS
    free, _ = torch.cuda.mem_get_info(device)
    lean = model.runs_kernels_on(device) and not model.config.parity
    bytes_of_ray = model.config.samples * source_views * _BYTES[lean]
    return int(min(_MOST_RAYS, max(_CPU_RAYS, free // 2 // bytes_of_ray)))


@torch.inference_mode()
def encode_pool(model: GsnModel, scene: Scene) -> SourceViews:
    """Run the encoder once over every view that may be a source, one at a time."""
    parts = []
    for view in scene.source_pool:
        with pick_autocast(scene.images.device):
            parts.append(scene.encode(model, view[None]))
    teacher = None
    if scene.teacher is not None:
        maps = [part.teacher.values for part in parts if part.teacher is not None]
        teacher = TeacherMaps(torch.cat(maps), scene.teacher.grid)
    return SourceViews(
        scene.cameras[scene.source_pool],
        torch.cat([part.images for part in parts]),
        torch.cat([part.encoded for part in parts]),
        teacher,
    )


def nearest_in_pool(scene: Scene, target: int, n_views: int) -> Tensor:
    """Return positions in the source pool of the cameras nearest to a view, itself left out."""
    pool = scene.source_pool
    centres = scene.host_centres
    order = nearest_views(centres[target], centres[pool], len(pool))
    return order[pool[order] != target][:n_views]


@torch.inference_mode()
def render_camera(
    model: GsnModel,
    camera: Cameras,  # one
    sources: SourceViews,
    near: Tensor,  # ()
    far: Tensor,  # ()
    stride: int,
    chunk_rays: int,
) -> View:
    """Render what a camera sees from some source views."""
    device = sources.images.device
    pixels = pixel_grid(camera.height, camera.width, stride).to(device)
    rays = pixel_rays(camera, pixels, model.pixel_centre)
    depths = model.depths(near, far)
    colours, features, distances = [], [], []
    for start in range(0, len(rays), chunk_rays):
        chunk = rays[slice(start, start + chunk_rays)]
        with pick_autocast(device):
            part = model(sources, chunk, depths.expand(len(chunk), -1), with_depth=True)
        colours.append(part.rgb)
        distances.append(part.depth)
        if part.feature is not None:
            features.append(functional.normalize(part.feature, dim=-1))
    h, w = -(-camera.height // stride), -(-camera.width // stride)
    return View(
        rgb=torch.cat(colours).clamp(0, 1).reshape(h, w, 3),
        feature=torch.cat(features).reshape(h, w, -1) if features else None,
        depth=torch.cat(distances).reshape(h, w),
    )


class SceneRenderer:
    """Renders a scene, from views encoded once."""

    def __init__(self, model: GsnModel, scene: Scene, config: RenderConfig) -> None:
        self.scene = scene
        self.config = config
        self._model = model
        self._pool: SourceViews | None = None

    @property
    def pool(self) -> SourceViews:
        """The source views, encoded when the first view is rendered."""
        if self._pool is None:
            self._pool = encode_pool(self._model, self.scene)
        return self._pool

    def view(self, target: int) -> View:
        """Render a view of the scene from its nearest source views; itself is never among them."""
        sources = self.pool[nearest_in_pool(self.scene, target, self.config.source_views)]
        camera = self.scene.cameras[torch.tensor([target])]
        return self._render(camera, sources, self.config.pixel_stride)

    def camera(self, camera: Cameras, stride: int) -> View:
        """Render what a camera that took no photo would see, from its nearest source views."""
        centres = self.scene.cameras.centres[self.scene.source_pool]
        chosen = nearest_views(camera.centres[0], centres, self.config.source_views)
        return self._render(camera, self.pool[chosen], stride)

    def _render(self, camera: Cameras, sources: SourceViews, stride: int) -> View:
        near, far = self.scene.near, self.scene.far
        return render_camera(
            self._model, camera, sources, near, far, stride, self.config.chunk_rays
        )
