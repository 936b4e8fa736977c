"""What stands beside the model in every table: views made without its feature head.

All but the first are made from source views alone, as the model's rendering is.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from gsn.evaluation.views.rendering import View, nearest_in_pool
from gsn.geometry.cell_grid import CellGrid
from gsn.geometry.projection import project
from gsn.geometry.rays import pixel_grid, pixel_rays
from gsn.model.scene import Scene
from gsn.model.sources import sample_cells

MODEL = "model"
TEACHER = "teacher_on_photo"  # what a 2-D method could do if it had the photo of the target view
NEAREST = "nearest_view"
MEAN = "mean_view"
CARRIED = "carried_by_depth"
COLOUR = "colour_only"

PIXELS = CellGrid((0.0, 0.0), (1.0, 1.0))
GREY = 0.5


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
    """Copy the source view whose camera is closest to the target's."""
    nearest = scene.source_pool[nearest_in_pool(scene, target, 1)[0]]
    return true_view(scene, int(nearest), stride)


def mean_view(scene: Scene, target: int, n_sources: int, stride: int) -> View:
    """Average the source views that the model renders from, pixel by pixel."""
    chosen = scene.source_pool[nearest_in_pool(scene, target, n_sources)]
    views = [true_view(scene, int(view), stride) for view in chosen]
    mean = View(torch.stack([view.rgb for view in views]).mean(dim=0), None)
    features = [view.feature for view in views if view.feature is not None]
    if not features:
        return mean
    return replace(mean, feature=functional.normalize(torch.stack(features).mean(dim=0), dim=-1))


@torch.inference_mode()
def carried_view(
    scene: Scene,
    target: int,
    depth: Tensor,  # (h, w), rendered in the target view
    n_sources: int,
    stride: int,
) -> View:
    """Carry colours and teacher features over by a rendered depth, without the learned head.

    The surface point of each pixel is projected into the source views that the model renders from;
    what those that see it show there is averaged. Nothing tells whether it is hidden in a source
    view. A point that no source view sees is grey and has no feature.
    """
    camera = scene.cameras[torch.tensor([target])]
    chosen = scene.source_pool[nearest_in_pool(scene, target, n_sources)]
    pixels = pixel_grid(camera.height, camera.width, stride).to(depth.device)
    rays = pixel_rays(camera, pixels)
    seen = project(rays.points(depth.reshape(-1, 1))[:, 0], scene.cameras[chosen])
    share = seen.visible / seen.visible.sum(dim=0).clamp(min=1)  # (V, N)

    def average(of_views: Tensor) -> Tensor:  # (V, C, N) → (h, w, C)
        mean = (of_views * share[:, None]).sum(dim=0)
        return mean.T.reshape(*depth.shape, -1)

    photos = scene.images[chosen].float() / 255
    rgb = average(sample_cells(photos, seen.pixels, PIXELS))
    rgb = torch.where(seen.visible.any(dim=0).reshape(*depth.shape, 1), rgb, GREY)
    maps = scene.teacher_maps(chosen)
    if maps is None:
        return View(rgb, None, depth)
    features = functional.normalize(sample_cells(maps.values, seen.pixels, maps.grid), dim=1)
    return View(rgb, functional.normalize(average(features), dim=-1), depth)
