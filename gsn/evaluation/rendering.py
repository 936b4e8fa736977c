"""Whole views: rendered by the model, or made from source views without it (the baselines)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from gsn.geometry.rays import pixel_grid, pixel_rays
from gsn.geometry.source_views import nearest_views
from gsn.model.network import GsnModel, pick_autocast
from gsn.model.scene import Scene
from gsn.model.sources import SourceViews, TeacherMaps, sample_cells


@dataclass(frozen=True)
class View:
    """What is seen in one view, at every `stride`-th pixel."""

    rgb: Tensor  # (h, w, 3), in [0, 1]
    feature: Tensor | None  # (h, w, D), unit length
    depth: Tensor | None = None  # (h, w), along the optical axis


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


@torch.inference_mode()
def render_view(
    model: GsnModel,
    scene: Scene,
    target: int,
    pool: SourceViews,
    n_sources: int,
    stride: int,
    chunk_rays: int,
) -> View:
    """Render a view of the scene from its nearest source views; itself is never among them."""
    sources = pool[nearest_in_pool(scene, target, n_sources)]
    camera = scene.cameras[torch.tensor([target])]
    pixels = pixel_grid(camera.height, camera.width, stride).to(scene.images.device)
    rays = pixel_rays(camera, pixels, model.pixel_centre)
    depths = model.depths(scene.near, scene.far)
    colours, features, distances = [], [], []
    for start in range(0, len(rays), chunk_rays):
        chunk = rays[slice(start, start + chunk_rays)]
        with pick_autocast(pixels.device):
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


def true_view(scene: Scene, view: int, stride: int) -> View:
    """Return the photo itself and the teacher's own map of it, at every `stride`-th pixel."""
    rgb = scene.images[view, :, ::stride, ::stride].permute(1, 2, 0).float() / 255
    if scene.teacher is None:
        return View(rgb, None)
    pixels = pixel_grid(scene.cameras.height, scene.cameras.width, stride).to(rgb)
    maps = functional.normalize(scene.teacher.values[view][None].float(), dim=1)
    feature = sample_cells(maps, pixels[None], scene.teacher.grid)[0].T
    return View(rgb, functional.normalize(feature, dim=-1).reshape(*rgb.shape[:2], -1))


def nearest_view(scene: Scene, target: int, stride: int) -> View:
    """Baseline: copy the source view whose camera is closest to the target's."""
    nearest = scene.source_pool[nearest_in_pool(scene, target, 1)[0]]
    return true_view(scene, int(nearest), stride)


def mean_view(scene: Scene, target: int, n_sources: int, stride: int) -> View:
    """Baseline: the mean of the source views that the model renders from."""
    chosen = scene.source_pool[nearest_in_pool(scene, target, n_sources)]
    views = [true_view(scene, int(view), stride) for view in chosen]
    mean = View(torch.stack([view.rgb for view in views]).mean(dim=0), None)
    features = [view.feature for view in views if view.feature is not None]
    if not features:
        return mean
    return replace(mean, feature=functional.normalize(torch.stack(features).mean(dim=0), dim=-1))


def nearest_in_pool(scene: Scene, target: int, n_views: int) -> Tensor:
    """Return positions in the source pool of the cameras nearest to a view, itself left out."""
    pool = scene.source_pool
    centres = scene.cameras.centres.cpu()
    order = nearest_views(centres[target], centres[pool], len(pool))
    return order[pool[order] != target][:n_views]
