import numpy as np
import pytest
import torch

from gsn.geometry.cameras import Cameras
from gsn.geometry.projection import pair_like, project, ray_difference
from gsn.geometry.rays import pixel_grid, pixel_rays

# Exact in binary: focal length 2, middle of a 6 × 4 image, looking along z from the origin.
SIMPLE = Cameras(
    torch.tensor([[[2.0, 0, 3], [0, 2, 2], [0, 0, 1]]]), torch.eye(4)[None], height=4, width=6
)


def random_cameras(n_views=3, seed=0):
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (n_views, 1, 1))
    for pose in poses:
        rotation, _ = np.linalg.qr(np.eye(3) + 0.2 * rng.standard_normal((3, 3)))
        pose[:3, :3] = rotation * np.sign(np.diag(rotation))  # near to no rotation
        pose[:3, 3] = 0.5 * rng.standard_normal(3)
    intrinsics = np.tile([[25.0, 0, 16], [0, 28.0, 11], [0, 0, 1]], (n_views, 1, 1))
    return Cameras(torch.tensor(intrinsics), torch.tensor(poses), height=22, width=30)


def test_projection_matches_a_loop_over_points_and_views():
    cameras = random_cameras()
    points = torch.tensor(np.random.default_rng(1).normal((0, 0, 1), 2, (200, 3)))
    seen = project(points, cameras)
    n_behind = 0
    for view in range(3):
        pose, intrinsics = cameras.cam_to_world[view].numpy(), cameras.intrinsics[view].numpy()
        for k, point in enumerate(points.numpy()):
            x, y, z = pose[:3, :3].T @ (point - pose[:3, 3])
            np.testing.assert_allclose(seen.depths[view, k], z, atol=1e-12)
            n_behind += z <= 0
            if z <= 0:
                assert not seen.visible[view, k]
                continue
            u = intrinsics[0, 0] * x / z + intrinsics[0, 2] - 0.5
            v = intrinsics[1, 1] * y / z + intrinsics[1, 2] - 0.5
            np.testing.assert_allclose(seen.pixels[view, k], [u, v], rtol=1e-9)
            assert bool(seen.visible[view, k]) == (0 <= u <= 29 and 0 <= v <= 21)
    assert 0 < n_behind < 600
    assert seen.visible.any()


@pytest.mark.parametrize("centre", [0.5, 0.0])
def test_the_points_of_a_pixel_project_back_to_it(centre):
    cameras = random_cameras(1)
    pixels = pixel_grid(cameras.height, cameras.width)
    rays = pixel_rays(cameras, pixels, centre)
    for depth in (1.2, 7.0, 48.0):
        points = rays.points(torch.full((len(rays), 1), depth, dtype=torch.float64))[:, 0]
        seen = project(points, cameras, centre)
        torch.testing.assert_close(seen.pixels[0], pixels.double(), atol=1e-9, rtol=0)
        torch.testing.assert_close(seen.depths[0], torch.full_like(seen.depths[0], depth))


def test_the_optical_axis_meets_the_image_between_its_middle_pixels():
    assert project(torch.tensor([[0.0, 0.0, 5.0]]), SIMPLE).pixels.tolist() == [[[2.5, 1.5]]]
    assert project(torch.tensor([[0.0, 0.0, 5.0]]), SIMPLE, 0.0).pixels.tolist() == [[[3, 2]]]


def test_an_image_ends_at_the_centres_of_its_border_pixels():
    # At depth 2 a point (x, y) lies at pixel (x + 2.5, y + 1.5).
    inside = torch.tensor([[-2.5, -1.5, 2], [2.5, 1.5, 2]])
    outside = torch.tensor([[-2.625, 0, 2], [2.625, 0, 2], [0, -1.625, 2], [0, 1.625, 2]])
    assert project(inside, SIMPLE).pixels.tolist() == [[[0, 0], [5, 3]]]
    assert project(inside, SIMPLE).visible.all()
    assert not project(outside, SIMPLE).visible.any()


@pytest.mark.parametrize("centre", [0.5, 0.0])
def test_behind_the_camera_and_in_its_plane_nothing_is_seen_and_all_is_finite(centre):
    points = torch.tensor([[0.0, 0, -2], [0, 0, 0], [1, 1, 0], [1e9, 0, 1e-30], [3, -4, -1e-12]])
    seen = project(points, SIMPLE, centre)
    assert not seen.visible.any()
    assert seen.pixels.isfinite().all()
    assert seen.pixels.abs().max() <= 1e6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pair_holds_its_numbers_exactly(dtype):
    numbers = [(503, 377), (0, 1), (1, 0), (0, 0), (3.5, 8.0), (-0.1, 1e6), (1 / 3, 2 / 3)]
    for x, y in numbers:
        assert torch.equal(
            pair_like(torch.zeros(2, dtype=dtype), x, y), torch.tensor([x, y], dtype=dtype)
        )


def difference_by_loop(point, target, source):
    def unit(x):
        return x / (np.linalg.norm(x) + 1e-6)

    a, b = unit(target - point), unit(source - point)
    return [*((a - b) / max(np.linalg.norm(a - b), 1e-6)), a @ b]


def test_ray_difference_matches_a_loop():
    rng = np.random.default_rng(0)
    points, targets = rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3))
    sources = rng.normal(size=(2, 3))
    got = ray_difference(*map(torch.tensor, (points, targets, sources)))
    assert got.shape == (4, 3, 2, 4)
    for r in range(4):
        for s in range(3):
            for v in range(2):
                expected = difference_by_loop(points[r, s], targets[r], sources[v])
                np.testing.assert_allclose(got[r, s, v], expected, rtol=1e-9)


def test_seen_from_the_same_place_there_is_no_difference_and_a_cosine_of_one():
    centre = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    point = torch.tensor([[[4.0, 2.0, 7.0]]], dtype=torch.float64)
    difference = ray_difference(point, centre, centre)[0, 0, 0]
    assert difference[:3].tolist() == [0, 0, 0]
    assert float(difference[3]) == pytest.approx(1, abs=1e-6)


def test_a_point_in_a_camera_centre_gives_finite_numbers():
    centre = torch.zeros(1, 3)
    assert ray_difference(torch.zeros(1, 1, 3), centre, centre).isfinite().all()
