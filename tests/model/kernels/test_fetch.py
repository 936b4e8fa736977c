from dataclasses import replace

import pytest
import torch

from gsn.geometry.cameras import PIXEL_CENTRE, REFERENCE_PIXEL_CENTRE, Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.geometry.rays import Rays
from gsn.model.kernels.fetch import Samples, fetch, fetch_unit
from gsn.model.sources import SourceViews, TeacherMaps, observe

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")
HEIGHT, WIDTH, FOCAL_PX = 24, 32, 32.0


def make_sources(n_views=3, channels=5, teacher_channels=6):
    """Views of noise beside each other, which look ahead."""
    torch.manual_seed(0)
    poses = torch.eye(4).repeat(n_views, 1, 1)
    poses[:, 0, 3] = 0.25 * torch.arange(n_views)
    intrinsics = torch.tensor([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
    maps = torch.randn(n_views, teacher_channels, 3, 4)
    return SourceViews(
        Cameras(intrinsics.repeat(n_views, 1, 1), poses, HEIGHT, WIDTH),
        torch.rand(n_views, 3, HEIGHT, WIDTH),
        torch.randn(n_views, channels, HEIGHT // 4, WIDTH // 4),
        TeacherMaps(maps, CellGrid.of_patches((8, 8))),
    )


def make_points(n_rays, n_samples):
    """Points in and around what the views see, some of them behind the cameras."""
    points = torch.randn(n_rays, n_samples, 3) * torch.tensor([1.0, 0.8, 2.0])
    points[..., 2] += 2.5
    return points


def points_at(pixels, depth):
    """Return the points which the first view has at pixel indices (u, v), (N, 3)."""
    middle = torch.tensor([WIDTH / 2, HEIGHT / 2])
    plane = (pixels + PIXEL_CENTRE - middle) * depth / FOCAL_PX
    return torch.cat([plane, torch.full_like(plane[:, :1], depth)], dim=-1)


def by_kernel(sources, rays, points, parity):
    centre = REFERENCE_PIXEL_CENTRE if parity else PIXEL_CENTRE
    flat = points.flatten(0, 1)
    samples = Samples(flat, rays.origins, sources.cameras, centre, parity)
    fetched = fetch(sources.encoded, sources.images, samples)
    return fetched, samples


def fetched_by(sources, rays, points, parity):
    """Return features, colours, ray differences and what is seen, views first, from both."""
    fetched, _ = by_kernel(sources, rays, points, parity)
    n_features = sources.encoded.shape[1]
    appearance, zeros = fetched.appearance.tensor_split([n_features + 3], dim=-1)
    assert not zeros.any()
    got = (
        *appearance.split([n_features, 3], dim=-1),
        *(fetched.ray_difference, fetched.colour[..., :3], fetched.visible > 0),
    )
    seen = observe(replace(sources, teacher=None), rays, points, parity)
    colour, features, difference, visible = (
        x.flatten(0, 1).transpose(0, 1)
        for x in (
            *seen.appearance.split([3, n_features], dim=-1),
            seen.ray_difference,
            seen.visible,
        )
    )
    return got, (features, colour, difference, colour, visible)


def make_rays(n_rays):
    return Rays(0.3 * torch.randn(n_rays, 3), torch.zeros(n_rays, 3))  # points are given


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(
    ("n_views", "channels", "n_rays", "n_samples"), [(3, 5, 7, 11), (1, 24, 1, 5)]
)
def test_what_is_fetched_is_what_the_readable_module_observes(
    parity, n_views, channels, n_rays, n_samples
):
    sources = make_sources(n_views, channels)
    points, rays = make_points(n_rays, n_samples), make_rays(n_rays)
    got, expected = fetched_by(sources, rays, points, parity)
    assert 0.2 < expected[-1].float().mean() < 0.9
    assert torch.equal(got[-1], expected[-1])
    for one, other in zip(got[:-1], expected[:-1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parity", [False, True])
def test_at_the_border_it_sees_as_much_and_fetches_the_same(parity):
    sources = make_sources()
    last = torch.tensor([WIDTH - 1.0, HEIGHT - 1.0])
    at, beyond = 5.0, 0.25  # exact in binary, as all numbers here
    pixels = [[x, at] for x in (0.0, -beyond, last[0], last[0] + beyond)]
    pixels += [[at, y] for y in (0.0, -beyond, last[1], last[1] + beyond)]
    points = points_at(torch.tensor(pixels), 2.0)[None]
    got, expected = fetched_by(sources, make_rays(1), points, parity)
    if not parity:
        assert got[-1][0].tolist() == [True, False] * 4
    assert torch.equal(got[-1], expected[-1])
    for one, other in zip(got[:-1], expected[:-1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parity", [False, True])
def test_a_view_sees_nothing_that_is_behind_it_or_in_its_very_plane(parity):
    sources = make_sources()
    points = torch.cat([points_at(torch.tensor([[9.0, 7.0]]), z) for z in (-2.0, 0.0, 2.0)])[None]
    got, expected = fetched_by(sources, make_rays(1), points, parity)
    assert got[-1][0].tolist() == [False, False, True]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def gradients_of_map(sources, rays, points, parity):
    """Return those by the kernel and by the readable module."""
    found = []
    n_features = sources.encoded.shape[1]
    weight = torch.randn(len(sources.encoded), points[..., 0].numel(), n_features)
    for run in (0, 1):
        encoded = sources.encoded.detach().float().requires_grad_()
        given = encoded if run else encoded.to(sources.encoded.dtype)
        features = fetched_by(replace(sources, encoded=given), rays, points, parity)[run][0]
        found.append(torch.autograd.grad((features.float() * weight).sum(), encoded)[0])
    return found


@pytest.mark.parametrize("parity", [False, True])
def test_every_sample_gives_its_gradient_to_the_cells_that_it_was_made_of(relative_error, parity):
    sources = make_sources()
    got, expected = gradients_of_map(sources, make_rays(7), make_points(7, 11), parity)
    assert expected.norm() > 1
    assert relative_error(got, expected) < 1e-4


def test_teacher_features_are_of_unit_length_where_they_are_seen():
    sources, points, rays = make_sources(), make_points(7, 11), make_rays(7)
    _, samples = by_kernel(sources, rays, points, parity=False)
    got = fetch_unit(sources.teacher.values, sources.teacher.grid, samples, torch.float32)
    seen = observe(sources, rays, points)
    expected = seen.teacher.flatten(0, 1).transpose(0, 1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    visible = seen.visible.flatten(0, 1).T
    torch.testing.assert_close(got.norm(dim=-1), visible.float())


@pytest.mark.gpu
@pytest.mark.parametrize("parity", [False, True])
def test_in_bfloat16_it_is_near_float32(relative_error, parity):
    sources = make_sources(10, 32, 64)
    rounded = replace(sources, encoded=sources.encoded.bfloat16())
    points, rays = make_points(200, 192), make_rays(200)
    got, expected = fetched_by(rounded, rays, points, parity)
    assert got[0].dtype == torch.bfloat16
    # Of a point that lies on the border but for rounding the two may say different things.
    assert (got[-1] != expected[-1]).float().mean() < 1e-4
    assert max(relative_error(one, other) for one, other in zip(got, expected, strict=True)) < 1e-2
    assert relative_error(*gradients_of_map(rounded, rays, points, parity)) < 2e-2
