"""Fetching what source views show at sample points, without anything of the way in memory.

Twin of `gsn.model.sources.observe`. Rows are samples, (N, …), and views come first, (V, N, …), so
that the kernels that follow read one view after the other.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.model.encoder import ENCODER_STRIDE_PX
from gsn.model.kernels.common import cells, kernel_dtype, padded, rows_of, store_cells

_ROWS = 64


@dataclass(frozen=True)
class Fetched:
    """What V source views show at N samples."""

    appearance: Tensor  # (V, N, F + 3 up to a multiple of 8): encoder features, colour, zeros
    colour: Tensor  # (V, N, 4), float32: RGB and 0
    visible: Tensor  # (V, N), uint8: 1 where the view sees the sample
    ray_difference: Tensor  # (V, N, 4)


@dataclass(frozen=True)
class Samples:
    """N sample points and the cameras that look at them."""

    points: Tensor  # (N, 3)
    origins: Tensor  # (R, 3), of the rays; N / R samples each
    cameras: Cameras
    pixel_centre: float
    parity: bool


@triton.jit
def _project(
    points_ptr: tl.tensor, plane_ptr: tl.tensor, rows: tl.tensor, there: tl.tensor, view: tl.tensor,
    height: tl.tensor, width: tl.tensor, CENTRE: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the points, their pixel index in a view, and whether it sees them."""
    px = tl.load(points_ptr + rows * 3, mask=there, other=0.0)
    py = tl.load(points_ptr + rows * 3 + 1, mask=there, other=0.0)
    pz = tl.load(points_ptr + rows * 3 + 2, mask=there, other=0.0)
    m = plane_ptr + view * 12
    u = tl.load(m) * px + tl.load(m + 1) * py + tl.load(m + 2) * pz + tl.load(m + 3)
    v = tl.load(m + 4) * px + tl.load(m + 5) * py + tl.load(m + 6) * pz + tl.load(m + 7)
    depth = tl.load(m + 8) * px + tl.load(m + 9) * py + tl.load(m + 10) * pz + tl.load(m + 11)
    safe = tl.maximum(depth, 1e-8)
    u = tl.minimum(tl.maximum(u / safe - CENTRE, -1e6), 1e6)
    v = tl.minimum(tl.maximum(v / safe - CENTRE, -1e6), 1e6)
    inside = (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    return px, py, pz, u, v, inside & (depth > 0) & there


@triton.jit
def _tap(x: tl.tensor, y: tl.tensor, K: tl.constexpr, h: tl.tensor, w: tl.tensor) -> tl.tensor:
    """Return cell and weight of one of the four cells around a place; weight 0 outside."""
    x0 = tl.floor(x)
    y0 = tl.floor(y)
    right = x - x0
    below = y - y0
    share = (right if K % 2 else 1.0 - right) * (below if K // 2 else 1.0 - below)
    column = x0 + K % 2
    row = y0 + K // 2
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    column = tl.minimum(tl.maximum(column, 0.0), w - 1.0).to(tl.int32)
    row = tl.minimum(tl.maximum(row, 0.0), h - 1.0).to(tl.int32)
    return column, row, tl.where(inside, share, 0.0)


@triton.jit
def _onto_map(x: tl.tensor, y: tl.tensor, h: tl.tensor, w: tl.tensor) -> tl.tensor:
    """Bring places beyond the border to it."""
    x = tl.minimum(tl.maximum(x, 0.0), w - 1.0)
    return x, tl.minimum(tl.maximum(y, 0.0), h - 1.0)


@triton.jit
def _interpolate(
    map_ptr: tl.tensor, x: tl.tensor, y: tl.tensor, h: tl.tensor, w: tl.tensor, columns: tl.tensor,
    row_stride: tl.tensor, cell_stride: tl.tensor, channel_stride: tl.tensor, C: tl.constexpr,
    EXACT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Interpolate a map bilinearly; beyond its border it goes on (or, not EXACT, it is zero)."""
    if EXACT:
        x, y = _onto_map(x, y, h, w)
    mask = columns[None, :] < C
    total = tl.zeros([x.shape[0], columns.shape[0]], tl.float32)
    for k in tl.static_range(4):
        column, row, share = _tap(x, y, k, h, w)
        place = row * row_stride + column * cell_stride
        values = tl.load(
            map_ptr + place[:, None] + columns[None, :] * channel_stride, mask=mask, other=0.0
        )
        total += share[:, None] * values.to(tl.float32)
    return total


@triton.jit
def _direction(x: tl.tensor, y: tl.tensor, z: tl.tensor) -> tl.tensor:
    length = tl.sqrt(x * x + y * y + z * z) + 1e-6
    return x / length, y / length, z / length


@triton.jit
def _store_ray_difference(
    out_ptr: tl.tensor, px: tl.tensor, py: tl.tensor, pz: tl.tensor, origins_ptr: tl.tensor,
    centres_ptr: tl.tensor, rows: tl.tensor, there: tl.tensor, view: tl.tensor,
    n_samples: tl.tensor, place: tl.tensor, DT: tl.constexpr,
) -> None:  # fmt: skip
    ray = origins_ptr + (rows // n_samples) * 3
    ox = tl.load(ray, mask=there, other=0.0)
    oy = tl.load(ray + 1, mask=there, other=0.0)
    oz = tl.load(ray + 2, mask=there, other=0.0)
    ax, ay, az = _direction(ox - px, oy - py, oz - pz)
    centre = centres_ptr + view * 3
    sx, sy, sz = tl.load(centre), tl.load(centre + 1), tl.load(centre + 2)
    bx, by, bz = _direction(sx - px, sy - py, sz - pz)
    dx, dy, dz = ax - bx, ay - by, az - bz
    length = tl.maximum(tl.sqrt(dx * dx + dy * dy + dz * dz), 1e-6)
    out = out_ptr + place * 4
    tl.store(out, (dx / length).to(DT), mask=there)
    tl.store(out + 1, (dy / length).to(DT), mask=there)
    tl.store(out + 2, (dz / length).to(DT), mask=there)
    tl.store(out + 3, (ax * bx + ay * by + az * bz).to(DT), mask=there)


@triton.jit(do_not_specialize=["n_samples", "height", "width", "h", "w"])
def _fetch_forward(
    points_ptr: tl.tensor, origins_ptr: tl.tensor, plane_ptr: tl.tensor, centres_ptr: tl.tensor,
    images_ptr: tl.tensor, encoded_ptr: tl.tensor, appearance_ptr: tl.tensor, colour_ptr: tl.tensor,
    visible_ptr: tl.tensor, difference_ptr: tl.tensor, n_rows: tl.tensor, n_samples: tl.tensor,
    height: tl.tensor, width: tl.tensor, h: tl.tensor, w: tl.tensor, scale_x: tl.tensor,
    scale_y: tl.tensor, BR: tl.constexpr, F: tl.constexpr, BF: tl.constexpr, STRIDE: tl.constexpr,
    B: tl.constexpr, CENTRE: tl.constexpr, EXACT: tl.constexpr, DT: tl.constexpr,
) -> None:  # fmt: skip
    first, offsets, there = rows_of(tl.program_id(0), n_rows, B)
    rows = first + offsets
    view = tl.program_id(1).to(tl.int64)
    px, py, pz, u, v, visible = _project(
        points_ptr, plane_ptr, rows, there, view, height, width, CENTRE
    )
    rgb, columns = tl.arange(0, BR), tl.arange(0, BF)
    image = images_ptr + view * 3 * height * width
    colour = _interpolate(image, u, v, height, width, rgb, width, 1, height * width, 3, EXACT)
    encoded = encoded_ptr + view * h * w * F
    features = _interpolate(encoded, u * scale_x, v * scale_y, h, w, columns, w * F, F, 1, F, EXACT)
    if EXACT:
        colour = tl.where(visible[:, None], colour, 0.0)
        features = tl.where(visible[:, None], features, 0.0)
    at = view * n_rows + first
    store_cells(appearance_ptr, at, offsets, there, columns, STRIDE, features, F)
    store_cells(appearance_ptr + F, at, offsets, there, rgb, STRIDE, colour, STRIDE - F)
    store_cells(colour_ptr, at, offsets, there, rgb, 4, colour, 4)
    tl.store(visible_ptr + at + offsets, visible.to(tl.uint8), mask=there)
    _store_ray_difference(
        difference_ptr, px, py, pz, origins_ptr, centres_ptr, rows, there, view, n_samples,
        at + offsets, DT,
    )  # fmt: skip


@triton.jit(do_not_specialize=["height", "width", "h", "w"])
def _fetch_backward(
    points_ptr: tl.tensor, plane_ptr: tl.tensor, gradient_ptr: tl.tensor, encoded_ptr: tl.tensor,
    n_rows: tl.tensor, height: tl.tensor, width: tl.tensor, h: tl.tensor, w: tl.tensor,
    scale_x: tl.tensor, scale_y: tl.tensor, F: tl.constexpr, BF: tl.constexpr, STRIDE: tl.constexpr,
    B: tl.constexpr, CENTRE: tl.constexpr, EXACT: tl.constexpr,
) -> None:  # fmt: skip
    """Add the gradient of every sample to the four cells that it was made of."""
    first, offsets, there = rows_of(tl.program_id(0), n_rows, B)
    rows = first + offsets
    view = tl.program_id(1).to(tl.int64)
    _px, _py, _pz, u, v, visible = _project(
        points_ptr, plane_ptr, rows, there, view, height, width, CENTRE
    )
    columns = tl.arange(0, BF)
    place = cells(gradient_ptr, view * n_rows + first, offsets, columns, STRIDE)
    counted = there
    x, y = u * scale_x, v * scale_y
    if EXACT:
        counted = visible
        x, y = _onto_map(x, y, h, w)
    mask = counted[:, None] & (columns[None, :] < F)
    gradient = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    encoded = encoded_ptr + view * h * w * F
    for k in tl.static_range(4):
        column, row, share = _tap(x, y, k, h, w)
        cell = encoded + ((row * w + column) * F)[:, None] + columns[None, :]
        some = mask & (share > 0)[:, None]
        tl.atomic_add(cell, share[:, None] * gradient, mask=some, sem="relaxed")


class _Fetch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, encoded: Tensor, images: Tensor, samples: Samples) -> Any:
        cameras = samples.cameras
        n_views, n_features, h, w = encoded.shape
        n_rows, dtype = len(samples.points), encoded.dtype
        stride = -(-(n_features + 3) // 8) * 8
        by_cell = encoded.permute(0, 2, 3, 1).contiguous()
        appearance = encoded.new_empty(n_views, n_rows, stride)
        colour = torch.empty(n_views, n_rows, 4, device=encoded.device)
        visible = torch.empty(n_views, n_rows, device=encoded.device, dtype=torch.uint8)
        difference = encoded.new_empty(n_views, n_rows, 4)
        planes = cameras.world_to_plane.contiguous()
        scales = _scales(cameras, h, w, samples.parity)
        sizes: dict[str, Any] = {"F": n_features, "BF": padded(n_features), "B": _ROWS}
        sizes |= {"STRIDE": stride, "CENTRE": samples.pixel_centre, "EXACT": not samples.parity}
        _fetch_forward[(triton.cdiv(n_rows, _ROWS), n_views)](
            *(samples.points, samples.origins, planes, cameras.centres.contiguous()),
            *(images.contiguous(), by_cell, appearance, colour, visible, difference),
            *(n_rows, n_rows // len(samples.origins), cameras.height, cameras.width, h, w),
            *scales,
            **sizes,
            BR=padded(stride - n_features, smallest=4),
            DT=kernel_dtype(dtype),
        )
        ctx.save_for_backward(samples.points, planes)
        ctx.place = (n_rows, cameras.height, cameras.width, h, w, *scales)
        ctx.sizes, ctx.shape, ctx.dtype = sizes, by_cell.shape, dtype
        ctx.mark_non_differentiable(colour, visible, difference)
        ctx.set_materialize_grads(False)
        return appearance, colour, visible, difference

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: Any) -> Any:
        if gradient is None:
            return None, None, None
        points, planes = ctx.saved_tensors
        total = torch.zeros(ctx.shape, device=points.device)
        _fetch_backward[(triton.cdiv(len(points), _ROWS), len(planes))](
            points, planes, gradient.contiguous(), total, *ctx.place, **ctx.sizes
        )
        return total.to(ctx.dtype).permute(0, 3, 1, 2), None, None


def fetch(
    encoded: Tensor,  # (V, F, h, w)
    images: Tensor,  # (V, 3, H, W), float32
    samples: Samples,
) -> Fetched:
    """Project every sample into every view; fetch colour and encoder features there."""
    return Fetched(*_Fetch.apply(encoded, images, samples))  # type: ignore[no-untyped-call]


@triton.jit(do_not_specialize=["height", "width", "h", "w"])
def _fetch_forward_unit(
    points_ptr: tl.tensor, plane_ptr: tl.tensor, map_ptr: tl.tensor, out_ptr: tl.tensor,
    n_rows: tl.tensor, height: tl.tensor, width: tl.tensor, h: tl.tensor, w: tl.tensor,
    first_x: tl.tensor, first_y: tl.tensor, scale_x: tl.tensor, scale_y: tl.tensor, D: tl.constexpr,
    BD: tl.constexpr, B: tl.constexpr, CENTRE: tl.constexpr, DT: tl.constexpr,
) -> None:  # fmt: skip
    first, offsets, there = rows_of(tl.program_id(0), n_rows, B)
    rows = first + offsets
    view = tl.program_id(1).to(tl.int64)
    _px, _py, _pz, u, v, visible = _project(
        points_ptr, plane_ptr, rows, there, view, height, width, CENTRE
    )
    columns = tl.arange(0, BD)
    x, y = (u - first_x) * scale_x, (v - first_y) * scale_y
    values = _interpolate(map_ptr + view * h * w * D, x, y, h, w, columns, w * D, D, 1, D, True)
    length = tl.maximum(tl.sqrt(tl.sum(values * values, axis=1)), 1e-12)
    values = tl.where(visible[:, None], values / length[:, None], 0.0)
    store_cells(out_ptr, view * n_rows + first, offsets, there, columns, D, values, D)


def fetch_unit(
    maps: Tensor,  # (V, D, h, w)
    grid: CellGrid,
    samples: Samples,
    dtype: torch.dtype,
) -> Tensor:  # (V, N, D)
    """Fetch teacher features at every sample, unit length; zero where a view does not see it.

    No gradient: the maps are data.
    """
    n_views, channels, h, w = maps.shape
    cameras, n_rows = samples.cameras, len(samples.points)
    out = torch.empty(n_views, n_rows, channels, device=maps.device, dtype=dtype)
    _fetch_forward_unit[(triton.cdiv(n_rows, _ROWS), n_views)](
        *(samples.points, cameras.world_to_plane.contiguous()),
        *(maps.permute(0, 2, 3, 1).contiguous(), out, n_rows, cameras.height, cameras.width),
        *(h, w, *(float(x) for x in grid.first_px[::-1]), *(1 / x for x in grid.step_px[::-1])),
        D=channels,
        BD=padded(channels),
        B=_ROWS,
        CENTRE=samples.pixel_centre,
        DT=kernel_dtype(dtype),
    )
    return out


def _scales(cameras: Cameras, h: int, w: int, parity: bool) -> tuple[float, float]:
    """Return cells per pixel along x and y; as published, corners lie on corners."""
    if parity:
        return (w - 1) / (cameras.width - 1), (h - 1) / (cameras.height - 1)
    return 1 / ENCODER_STRIDE_PX, 1 / ENCODER_STRIDE_PX
