"""What the network knows of the source views, and how it is fetched at sample points."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gsn.checks import check_shape
from gsn.geometry.cameras import PIXEL_CENTRE, REFERENCE_PIXEL_CENTRE, Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.geometry.projection import Projection, pair_like, project, ray_difference
from gsn.geometry.rays import Rays
from gsn.model.encoder import ENCODER_STRIDE_PX

_PIXELS = CellGrid((0.0, 0.0), (1.0, 1.0))
_ENCODER_CELLS = CellGrid((0.0, 0.0), (ENCODER_STRIDE_PX, ENCODER_STRIDE_PX))


@dataclass(frozen=True)
class TeacherMaps:
    """Feature maps of the source views, at the resolution of the teacher, never enlarged."""

    values: Tensor  # (V, D, h, w)
    grid: CellGrid


@dataclass(frozen=True)
class SourceViews:
    """V photos of a scene with their cameras and what was computed from them."""

    cameras: Cameras
    images: Tensor  # (V, 3, H, W) in [0, 1]
    encoded: Tensor  # (V, F, h, w), output of the encoder
    teacher: TeacherMaps | None = None  # needed by the feature head only

    def __post_init__(self) -> None:
        sizes = {"V": len(self.cameras), "H": self.cameras.height, "W": self.cameras.width}
        check_shape("images", self.images, "V 3 H W", sizes)
        check_shape("encoded", self.encoded, "V _ _ _", sizes)
        if self.teacher is not None:
            check_shape("teacher", self.teacher.values, "V _ _ _", sizes)

    def __getitem__(self, views: Tensor) -> "SourceViews":
        """Return some of the views."""
        teacher = self.teacher and TeacherMaps(self.teacher.values[views], self.teacher.grid)
        return SourceViews(self.cameras[views], self.images[views], self.encoded[views], teacher)


@dataclass(frozen=True)
class Observations:
    """What V source views say about the samples of R rays."""

    appearance: Tensor  # (R, S, V, 3 + F): colour and encoder features
    ray_difference: Tensor  # (R, S, V, 4)
    visible: Tensor  # (R, S, V), bool
    teacher: Tensor | None  # (R, S, V, D)


def observe(
    sources: SourceViews,
    rays: Rays,
    points: Tensor,  # (R, S, 3)
    parity: bool = False,
) -> Observations:
    """Project every sample into every source view and fetch what is there.

    Where a view does not see a sample its values are zero. Teacher vectors are made unit length
    after the fetch, since interpolation shortens them. `parity` repeats the published code: half a
    pixel off, maps stretched over the image, no renormalisation.
    """
    n_rays, n_samples = points.shape[:2]
    with torch.autocast(points.device.type, enabled=False):  # coordinates need float32
        seen = project(
            points.flatten(0, 1),
            sources.cameras,
            REFERENCE_PIXEL_CENTRE if parity else PIXEL_CENTRE,
        )
        if parity:
            fetched = _fetch_as_reference(sources, seen)
        else:
            fetched = _fetch(sources, seen)
        difference = ray_difference(points, rays.origins, sources.cameras.centres)
    by_sample = [x.permute(2, 0, 1).reshape(n_rays, n_samples, *x.shape[:2]) for x in fetched]
    return Observations(
        appearance=torch.cat(by_sample[:2], dim=-1),
        ray_difference=difference,
        visible=seen.visible.T.reshape(n_rays, n_samples, -1),
        teacher=by_sample[2] if len(by_sample) > 2 else None,
    )


def sample_cells(
    maps: Tensor,  # (V, C, h, w)
    pixels: Tensor,  # (V, N, 2), index (u, v) in the image
    grid: CellGrid,
    padding: str = "border",
) -> Tensor:  # (V, C, N)
    """Interpolate feature maps bilinearly at pixels, by the exact position of their cells."""
    first = pair_like(pixels, *grid.first_px[::-1])
    step = pair_like(pixels, *grid.step_px[::-1])
    return _interpolate(maps, (pixels - first) / step, padding)


def _fetch(sources: SourceViews, seen: Projection) -> list[Tensor]:
    """Fetch colours, encoder features and teacher features, each (V, C, N)."""
    maps = [(sources.images, _PIXELS), (sources.encoded, _ENCODER_CELLS)]
    if sources.teacher is not None:
        maps.append((sources.teacher.values, sources.teacher.grid))
    fetched = [sample_cells(values.float(), seen.pixels, grid) for values, grid in maps]
    if sources.teacher is not None:
        fetched[2] = functional.normalize(fetched[2], dim=1)
    return [values * seen.visible[:, None] for values in fetched]


def _fetch_as_reference(sources: SourceViews, seen: Projection) -> list[Tensor]:
    """Fetch as the published code does: every map stretched so that its corners are the image's."""
    last = pair_like(seen.pixels, sources.cameras.width - 1, sources.cameras.height - 1)
    fetched = []
    for maps in (sources.images, sources.encoded):
        corner = pair_like(last, maps.shape[-1] - 1, maps.shape[-2] - 1)
        fetched.append(_interpolate(maps.float(), seen.pixels / last * corner, "zeros"))
    if sources.teacher is not None:
        fetched.append(fetch_enlarged(sources.teacher.values.float(), seen.pixels, last))
    return fetched


def fetch_enlarged(maps: Tensor, pixels: Tensor, last: Tensor) -> Tensor:
    """Interpolate in the map enlarged to the image, without enlarging it.

    The published code enlarges (bilinear) and then fetches (bilinear): the same as fetching the
    small map at the four whole pixels around each point and interpolating between those.
    """
    scale = pair_like(pixels, maps.shape[-1], maps.shape[-2]) / (last + 1)
    corner = pixels.floor()
    part = pixels - corner
    total = pixels.new_zeros(maps.shape[0], maps.shape[1], pixels.shape[1])
    for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
        whole = corner + pair_like(pixels, du, dv)
        inside = ((whole >= 0) & (whole <= last)).all(dim=-1)
        share = (part[..., 0] if du else 1 - part[..., 0]) * (
            part[..., 1] if dv else 1 - part[..., 1]
        )
        value = _interpolate(maps, (whole + 0.5) * scale - 0.5, "border")
        total = total + value * torch.where(inside, share, 0.0)[:, None]
    return total


def _interpolate(maps: Tensor, cells: Tensor, padding: str) -> Tensor:
    """Interpolate (V, C, h, w) at cell indices (V, N, 2) → (V, C, N)."""
    size = pair_like(cells, maps.shape[-1], maps.shape[-2])
    normalised = (2 * cells + 1) / size - 1
    fetched = functional.grid_sample(
        maps, normalised[:, None], padding_mode=padding, align_corners=False
    )
    return fetched[:, :, 0]
