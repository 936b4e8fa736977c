import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gsn.teachers import clip_windows

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])


@pytest.fixture(scope="module")
def clip(make_clip):
    return make_clip()


@pytest.fixture(scope="module")
def siglip(make_siglip):
    return make_siglip()


@pytest.fixture
def windows(wrap_clip):
    def wrap(network, window_px=(20,), window_stride_px=10, **settings):
        changes = {"window_px": window_px, "window_stride_px": window_stride_px}
        return wrap_clip(network, mode="windows", **changes, **settings)

    return wrap


def noise(*size, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=draw)


def windows_by_loop(network, image, side, stride):
    """Cut, resize and encode one window at a time."""
    rows = []
    for top in range(0, image.shape[0] - side + 1, stride):
        for left in range(0, image.shape[1] - side + 1, stride):
            crop = image[top : top + side, left : left + side].permute(2, 0, 1)[None] / 255
            if side != 32:
                crop = functional.interpolate(crop, (32, 32), mode="bicubic", antialias=True)
            rgb = (crop.clamp(0, 1) - MEAN[:, None, None]) / STD[:, None, None]
            rows.append(network.encode_image(rgb)[0])
        n_rows = top // stride + 1
    vectors = torch.stack(rows).reshape(n_rows, -1, rows[0].numel())
    return functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("side", [20, 32, 40])
def test_windows_are_encoded_as_one_at_a_time(kind, side, windows, request):
    network = request.getfixturevalue(kind)
    images = noise(2, 45, 61)
    teacher = windows(network, window_px=[side])
    got = teacher(images)
    assert got.shape == (2, *teacher.grid_size(45, 61), teacher.channels)
    for image, one in zip(images, got, strict=True):
        expected = windows_by_loop(network, image, side, 10)
        torch.testing.assert_close(one, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("at_a_time", [1, 5, 7, 1000])
def test_the_number_of_windows_at_a_time_changes_nothing(clip, windows, monkeypatch, at_a_time):
    images = noise(2, 45, 61)
    expected = windows(clip)(images)
    sizes = []
    encode = clip.encode_image

    def count(rgb):
        sizes.append(len(rgb))
        return encode(rgb)

    monkeypatch.setattr(clip_windows, "WINDOWS_AT_A_TIME", at_a_time)
    monkeypatch.setattr(clip, "encode_image", count)
    torch.testing.assert_close(windows(clip)(images), expected, atol=1e-5, rtol=0)
    assert sum(sizes) == 2 * 3 * 5
    assert max(sizes) <= at_a_time
    assert len(set(sizes)) <= 2


def bilinear_by_loop(maps, positions):
    """Read a map (h, w, C) at a position of the photograph, in cells; the rim goes on outside."""
    height, width = maps.shape[:2]
    out = torch.zeros(*positions.shape[:2], maps.shape[2])
    for i, j in np.ndindex(*positions.shape[:2]):
        row = min(max(positions[i, j, 0], 0), height - 1)
        column = min(max(positions[i, j, 1], 0), width - 1)
        for r, c in np.ndindex(height, width):
            weight = max(0, 1 - abs(row - r)) * max(0, 1 - abs(column - c))
            out[i, j] += weight * maps[r, c]
    return out


@pytest.mark.parametrize("merge", ["mean", "concat"])
def test_larger_windows_are_fetched_where_the_smallest_lie(clip, windows, merge):
    image = noise(60, 70)
    sides, stride = [34, 16, 24], 9
    teacher = windows(clip, window_px=sides, window_stride_px=stride, merge=merge)
    rows, columns = teacher.grid_size(60, 70)
    centres = np.stack(np.meshgrid(*(np.arange(n) for n in (rows, columns)), indexing="ij"), -1)
    centres = centres * stride + (16 - 1) / 2
    parts = []
    for side in sorted(sides):
        maps = windows_by_loop(clip, image, side, stride)
        found = bilinear_by_loop(maps, (centres - (side - 1) / 2) / stride)
        parts.append(functional.normalize(found, dim=-1))
    expected = torch.cat(parts, -1) if merge == "concat" else sum(parts)
    expected = functional.normalize(expected, dim=-1)
    got = teacher(image[None])[0]
    assert got.shape == (rows, columns, teacher.channels) == (5, 7, teacher.channels)
    assert teacher.channels == (72 if merge == "concat" else 24)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


class Places(nn.Module):
    """A network whose vector of a window is the mean of its red and green, as two angles."""

    def __init__(self):
        super().__init__()
        self.visual = nn.Module()
        self.visual.image_size = (32, 32)
        self.visual.output_dim = 4

    def encode_image(self, rgb):
        angles = (rgb.mean(dim=(2, 3)) * STD + MEAN)[:, :2]
        return torch.cat([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize("long_side_px", [None, 75, 300])
@pytest.mark.parametrize("window_px", [[24], [24, 40]])
def test_cells_lie_at_the_centres_of_their_windows(windows, long_side_px, window_px):
    rows, columns = 110, 150
    image = torch.zeros(1, rows, columns, 3, dtype=torch.uint8)
    image[..., 0] = torch.arange(rows)[:, None]
    image[..., 1] = torch.arange(columns)
    teacher = windows(Places(), window_px, 4, long_side_px=long_side_px)
    vectors = teacher(image)[0]
    found = 255 * torch.atan2(vectors[..., 2:], vectors[..., :2])
    grid = teacher.grid(rows, columns)
    inner = slice(1, -1) if len(window_px) == 1 else slice(2, -2)  # larger ones end before the rim
    for axis in (0, 1):
        n = found.shape[axis]
        centres = grid.first_px[axis] + torch.arange(n) * grid.step_px[axis]
        along = found[..., axis].mean(dim=1 - axis)
        assert (along - centres)[inner].abs().max() < 0.1


def test_grid_of_a_published_photograph(clip, windows):
    teacher = windows(clip, [96], 48)
    grid = teacher.grid(756, 1008)
    assert teacher.grid_size(756, 1008) == (14, 20)
    assert teacher.grid_size(378, 504) == (6, 9)
    assert (grid.first_px, grid.step_px) == ((47.5, 47.5), (48, 48))  # of pixels 0 to 95


def test_a_photograph_below_the_largest_window_is_refused(clip, windows):
    with pytest.raises(ValueError, match=r"29×50 pixels is smaller than one window of 30×30; ch"):
        windows(clip, [20, 30])(noise(1, 29, 50))
    with pytest.raises(ValueError, match="20×40 pixels is smaller than one window of 30×30"):
        windows(clip, [20, 30], long_side_px=40)(noise(1, 50, 100))
    with pytest.raises(ValueError, match="expected different sizes"):
        windows(clip, [20, 30, 20])


def test_a_text_is_compared_with_all_sizes_of_windows_alike(clip, windows):
    texts = ["cup", "a jar"]
    alone = windows(clip, [20, 30], merge="mean").embed_texts(texts)
    teacher = windows(clip, [20, 30], merge="concat")
    repeated = teacher.embed_texts(texts)
    assert repeated.shape == (2, 48) == (2, teacher.channels)
    torch.testing.assert_close(repeated.norm(dim=1), torch.ones(2))
    maps = teacher(noise(1, 40, 40))
    parts = [functional.normalize(maps[..., k : k + 24], dim=-1) @ alone.T for k in (0, 24)]
    torch.testing.assert_close(maps @ repeated.T, sum(parts) / 2, atol=1e-6, rtol=0)
    assert math.isclose(float(maps.norm(dim=-1).mean()), 1, abs_tol=1e-5)
