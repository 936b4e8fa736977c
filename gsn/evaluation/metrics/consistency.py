"""A score of feature maps that needs no labels: one surface point, rendered from two views."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor
from torch.nn import functional

from gsn.checks import check_shape
from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.geometry.projection import project
from gsn.geometry.rays import pixel_grid, pixel_rays
from gsn.model.sources import sample_cells

CHUNK_COSINES = 2**22  # held at a time while matching: 16 MiB
BORDER_PX = 1e-3  # a point that rounding alone puts outside the grid is inside
TIE = 1e-6  # cosines in single precision that differ by less are equal


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class ConsistencyConfig:
    """Section `evaluate.consistency` of params.yaml."""

    max_points: PositiveInt  # of the first view, evenly spread, that are looked for in the second
    # How far the second view's depth may be off, as a share of the point's; beyond, it is hidden.
    depth_tolerance: Annotated[float, Field(gt=0, lt=1)]
    pck_tolerance: PositiveFloat  # share of the long side; a match so near is right


@dataclass(frozen=True)
class PosedFeatures:
    """Features and depth of one view at every `stride`-th pixel, and the camera that saw them."""

    feature: Tensor  # (h, w, C)
    depth: Tensor  # (h, w), along the optical axis, in scene units
    camera: Cameras  # one view
    stride: int  # place (r, c) is pixel (stride * r, stride * c) of the image

    def __post_init__(self) -> None:
        check_shape("intrinsics", self.camera.intrinsics, "1 3 3")
        if self.stride < 1:
            raise ValueError(f"stride: expected at least 1, got {self.stride}")
        h, w = (-(-side // self.stride) for side in (self.camera.height, self.camera.width))
        check_shape("feature", self.feature, f"{h} {w} C")
        check_shape("depth", self.depth, f"{h} {w}")

    @property
    def cells(self) -> CellGrid:
        """Where the places of the grid lie in the image."""
        return CellGrid((0.0, 0.0), (self.stride, self.stride))


@dataclass(frozen=True)
class _Pairs:
    """N surface points that both views see."""

    feature: Tensor  # (N, C), in the first view
    pixels: Tensor  # (N, 2), index (u, v) in the second view's image
    share: float  # of the points that were looked for


@torch.inference_mode()
def score_consistency(
    first: PosedFeatures, second: PosedFeatures, config: ConsistencyConfig
) -> dict[str, float]:
    """Compare the features that two views show of the same surface points.

    Points are taken in the first view, at the depth that was rendered there. A point counts if the
    second view has it in its grid, in front of the camera, at the depth that was rendered *there*.
    Both depths come from the same model: a wrong depth that is the same wrong surface in both views
    goes unnoticed, and the score is of the features on that surface. It is not symmetric.

    Returns:
        `consistency_cosine`: the mean cosine of the two features of a point; the second view's are
            interpolated between its places and brought back to unit length.
        `consistency_pck`: the share of points whose best match by cosine, among all places of the
            second view, is within `pck_tolerance` of the long side of its grid from the true place.
            This is the percentage of correct keypoints (Yang and Ramanan, TPAMI 2013), whose
            long side is that of a person's box. Places that match equally well share the point, so
            that features that tell nothing are at chance.
        `consistency_points`: the share of the points looked for that both views see. Without one
            this stands alone, as 0.

    Raises:
        ValueError: The two maps have not the same number of channels.
    """
    check_shape("second", second.feature, f"_ _ {first.feature.shape[-1]}")
    pairs = _pair_up(first, second, config)
    if not len(pairs.pixels):
        return {"consistency_points": 0.0}
    maps = functional.normalize(second.feature.float(), dim=-1)
    there = sample_cells(maps.permute(2, 0, 1)[None], pairs.pixels[None], second.cells)[0].T
    cosine = (pairs.feature * functional.normalize(there, dim=-1)).sum(dim=-1)
    radius = config.pck_tolerance * max(maps.shape[:2])
    return {
        "consistency_cosine": float(cosine.double().mean()),
        "consistency_pck": _match(pairs.feature, pairs.pixels / second.stride, maps, radius),
        "consistency_points": pairs.share,
    }


def _pair_up(first: PosedFeatures, second: PosedFeatures, config: ConsistencyConfig) -> _Pairs:
    """Take points of the first view and keep those that the second one sees."""
    height, width = first.depth.shape
    places = _spread_places(height, width, config.max_points).to(first.depth.device)
    columns, rows = places.unbind(dim=-1)
    depth = first.depth[rows, columns].to(first.camera.intrinsics)
    rays = pixel_rays(first.camera, places * first.stride)
    seen = project(rays.points(depth[:, None])[:, 0], second.camera)
    pixels, z = seen.pixels[0].float(), seen.depths[0].float()
    last = second.stride * (pixels.new_tensor(second.depth.shape[::-1]) - 1)
    inside = ((pixels >= -BORDER_PX) & (pixels <= last + BORDER_PX)).all(dim=-1)
    # 1 / z is linear across a plane, z is not: interpolated so, a slanted wall hides nothing.
    inverse = sample_cells(1.0 / second.depth.float()[None, None], pixels[None], second.cells)
    # False for what lies behind the camera (z is negative) and for a depth that is no number.
    surface = (1.0 / inverse[0, 0] - z).abs() <= config.depth_tolerance * z
    kept = inside & surface & (depth > 0)
    feature = functional.normalize(first.feature[rows, columns][kept].float(), dim=-1)
    return _Pairs(feature, pixels[kept], float(kept.double().mean()))


def _spread_places(height: int, width: int, limit: int) -> Tensor:  # (N, 2), (column, row)
    """Return the places of the densest square lattice of at most `limit`, in the grid's middle."""
    step = 1
    while -(-height // step) * -(-width // step) > limit:
        step += 1
    margin = [(side - 1) % step // 2 for side in (width, height)]
    return pixel_grid(height, width, step) + torch.tensor(margin)


def _match(
    feature: Tensor,  # (N, C), unit length
    true_places: Tensor,  # (N, 2), (column, row) in the grid
    maps: Tensor,  # (h, w, C), unit length
    radius: float,
) -> float:
    """Return the share of points whose best match in the map is near the true place."""
    height, width, channels = maps.shape
    columns = torch.arange(width, device=maps.device)
    rows = torch.arange(height, device=maps.device)
    flat = maps.reshape(-1, channels).T
    right = 0.0
    size = max(1, CHUNK_COSINES // (height * width))
    for start in range(0, len(feature), size):
        chunk = slice(start, start + size)
        places = true_places[chunk]
        cosines = (feature[chunk] @ flat).reshape(-1, height, width)
        best = cosines >= cosines.amax(dim=(1, 2), keepdim=True) - TIE
        off_column = torch.square(places[:, :1] - columns)[:, None, :]
        off_row = torch.square(places[:, 1:] - rows)[:, :, None]
        near = off_column + off_row <= radius**2
        right += float(((best & near).sum(dim=(1, 2)) / best.sum(dim=(1, 2))).double().sum())
    return right / len(feature)
