"""Training batches: rays of one target view, its source views, and what the rays should show."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from torch.nn import functional

from gsn.geometry.rays import Rays, jitter_depths, pixel_rays
from gsn.geometry.source_views import draw_source_views
from gsn.model.network import GsnModel
from gsn.model.scene import Scene
from gsn.model.sources import sample_cells

Probability = Annotated[float, Field(ge=0, le=1)]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class BatchConfig:
    """Section `<stage>.batch` of params.yaml."""

    rays: PositiveInt  # with `source_views` views; fewer views, more rays: equal memory
    source_views: PositiveInt  # on average
    source_views_spread: NonNegativeInt  # the number drawn is within source_views ± this
    neighbourhood_max: PositiveInt  # sources are drawn from at most so many nearest views
    target_among_sources: Probability  # of showing the target itself; 0.005 published, 0 in distill


@dataclass(frozen=True)
class Batch:
    """One training step."""

    scene: Scene
    source_views: Tensor  # (V,), indices
    rays: Rays
    depths: Tensor  # (R, S)
    rgb: Tensor  # (R, 3), in [0, 1]
    feature: Tensor | None  # (R, D), unit length; without teacher maps None


def draw_batch(
    scenes: list[Scene], model: GsnModel, config: BatchConfig, generator: torch.Generator
) -> Batch:
    """Draw a target view that is not held out, its sources, and distinct random pixels of it."""
    scene = scenes[_draw(len(scenes), generator)]
    pool = scene.source_pool
    target = pool[_draw(len(pool), generator)]
    views = _draw_sources(scene, pool, target, config, generator)
    camera = scene.cameras[target[None]]
    n_rays = config.rays * config.source_views // len(views)
    n_pixels = camera.height * camera.width
    flat = torch.randperm(n_pixels, generator=generator)[:n_rays].to(scene.images.device)
    pixels = torch.stack([flat % camera.width, flat // camera.width], dim=-1)
    depths = jitter_depths(
        model.depths(scene.near, scene.far),
        len(flat),
        generator,
        # The published code samples evenly in 1/z but jitters in z.
        inverse=model.config.inverse_depth and not model.config.parity,
    )
    return Batch(
        scene=scene,
        source_views=views,
        rays=pixel_rays(camera, pixels, model.pixel_centre),
        depths=depths,
        rgb=scene.images[target].flatten(1).T[flat].float() / 255,
        feature=target_features(scene, target, pixels),
    )


def target_features(
    scene: Scene,
    view: Tensor,  # ()
    pixels: Tensor,  # (R, 2)
) -> Tensor | None:  # (R, D)
    """Return the teacher's feature of pixels of one view, unit length, or None without maps.

    Maps are normalised, then interpolated, then normalised again, since interpolation shortens.
    """
    if scene.teacher is None:
        return None
    maps = functional.normalize(scene.teacher.values[view][None].float(), dim=1)
    fetched = sample_cells(maps, pixels[None].float(), scene.teacher.grid)
    return functional.normalize(fetched[0].T, dim=-1)


def _draw_sources(
    scene: Scene, pool: Tensor, target: Tensor, config: BatchConfig, generator: torch.Generator
) -> Tensor:
    others = pool[pool != target]
    centres = scene.cameras.centres.cpu()
    chosen = draw_source_views(
        centres[target],
        centres[others],
        config.source_views,
        config.source_views_spread,
        config.neighbourhood_max,
        generator,
    )
    views = others[chosen]
    if float(torch.rand((), generator=generator)) < config.target_among_sources:
        views[_draw(len(views), generator)] = target
    return views


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
