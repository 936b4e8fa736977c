"""Training batches: rays of one target view, its source views, and what the rays should show."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from torch.nn import functional

from gsn.geometry.cameras import Cameras
from gsn.geometry.rays import Rays, jitter_depths, pixel_rays
from gsn.geometry.source_views import draw_source_views
from gsn.model.network import GsnModel
from gsn.model.scene import Scene, unit_maps
from gsn.model.sources import TeacherMaps, sample_cells
from gsn.training.generators import Generators
from gsn.training.residence import fetch_views, to_device

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
class Choice:
    """What a step is to show, chosen on the host."""

    scene: int  # position in the list of scenes
    target: int  # view
    sources: Tensor  # (V,), views, on the CPU


@dataclass(frozen=True)
class Batch:
    """One training step, in tensors of the device; photographs and maps as they are stored."""

    choice: Choice
    cameras: Cameras  # of the source views
    images: Tensor  # (V, 3, H, W), uint8
    teacher: TeacherMaps | None  # (V, D, h, w), float16, not normalised; None without maps
    rays: Rays
    depths: Tensor  # (R, S)
    rgb: Tensor  # (R, 3), in [0, 1]
    feature: Tensor | None  # (R, D), unit length; without teacher maps None

    @property
    def tensors(self) -> list[Tensor]:
        """All that the device holds of the batch."""
        tensors = [*self.cameras.tensors, self.images, self.rays.origins, self.rays.directions]
        maps = self.teacher.values if self.teacher else None
        optional = (maps, self.feature)
        return [*tensors, self.depths, self.rgb, *(x for x in optional if x is not None)]

    def copied(self) -> "Batch":
        """Return the same batch in memory of its own, where no number stands for several."""
        every_view = torch.arange(len(self.cameras), device=self.images.device)
        return replace(
            self,
            cameras=self.cameras[every_view],
            images=self.images.clone(),
            teacher=self.teacher and replace(self.teacher, values=self.teacher.values.clone()),
            rays=Rays(self.rays.origins.clone(), self.rays.directions.clone()),
            depths=self.depths.clone(),
            rgb=self.rgb.clone(),
            feature=None if self.feature is None else self.feature.clone(),
        )


def draw_batch(
    scenes: list[Scene], model: GsnModel, config: BatchConfig, generators: Generators
) -> Batch:
    """Draw a target view that is not held out, its sources, and distinct random pixels of it.

    On a GPU nothing here waits for it: what is chosen on the host travels as one short list of
    indices, all else is drawn and gathered on the device.
    """
    choice = choose_views(scenes, config, generators.host)
    n_rays = config.rays * config.source_views // len(choice.sources)
    return gather_batch(scenes[choice.scene], choice, n_rays, model, generators.device)


def choose_views(scenes: list[Scene], config: BatchConfig, generator: torch.Generator) -> Choice:
    """Choose a scene, a target that is not held out, and its source views."""
    number = _draw(len(scenes), generator)
    scene = scenes[number]
    pool = scene.source_pool
    target = pool[_draw(len(pool), generator)]
    others = pool[pool != target]
    chosen = draw_source_views(
        scene.host_centres[target],
        scene.host_centres[others],
        config.source_views,
        config.source_views_spread,
        config.neighbourhood_max,
        generator,
    )
    sources = others[chosen]
    if float(torch.rand((), generator=generator)) < config.target_among_sources:
        sources[_draw(len(sources), generator)] = target
    return Choice(number, int(target), sources)


def gather_batch(
    scene: Scene, choice: Choice, n_rays: int, model: GsnModel, generator: torch.Generator
) -> Batch:
    """Draw pixels and depths on the device, and gather there what they should show."""
    here = torch.cat([torch.tensor([choice.target]), choice.sources])  # the target comes first
    there = to_device(here, scene.device)
    cameras = scene.cameras[there]
    photos = fetch_views(scene.images, here, there)
    pixels = draw_pixels(cameras.height, cameras.width, n_rays, generator)
    depths = jitter_depths(
        model.depths(scene.near, scene.far),
        len(pixels),
        generator,
        # The published code samples evenly in 1/z but jitters in z.
        inverse=model.config.inverse_depth and not model.config.parity,
    )
    teacher, feature = None, None
    if scene.teacher is not None:
        maps, grid = fetch_views(scene.teacher.values, here, there), scene.teacher.grid
        teacher = TeacherMaps(maps[1:], grid)
        feature = features_at(TeacherMaps(maps[:1], grid), pixels)
    return Batch(
        choice=choice,
        cameras=cameras[1:],
        images=photos[1:],
        teacher=teacher,
        rays=pixel_rays(cameras[:1], pixels, model.pixel_centre),
        depths=depths,
        rgb=photos[0][:, pixels[:, 1], pixels[:, 0]].T.float() / 255,
        feature=feature,
    )


def draw_pixels(
    height: int, width: int, n_pixels: int, generator: torch.Generator
) -> Tensor:  # (min(n_pixels, H·W), 2), index (u, v), on the generator's device
    """Draw distinct pixels of an image."""
    shuffled = torch.randperm(height * width, generator=generator, device=generator.device)
    flat = shuffled[:n_pixels]
    return torch.stack([flat % width, flat // width], dim=-1)


def features_at(
    maps: TeacherMaps,  # of one view, (1, D, h, w)
    pixels: Tensor,  # (R, 2)
) -> Tensor:  # (R, D)
    """Return the teacher's feature of some pixels, unit length.

    Maps are normalised, then interpolated, then normalised again, since interpolation shortens.
    """
    fetched = sample_cells(unit_maps(maps).values, pixels[None].float(), maps.grid)
    return functional.normalize(fetched[0].T, dim=-1)


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
