import numpy as np
import pytest
import torch

from gsn.geometry.cameras import Cameras
from gsn.geometry.rays import Rays, jitter_depths, pixel_grid, pixel_rays, sample_depths

NEAR, FAR = torch.tensor(1.2), torch.tensor(48.0)


def camera(seed=0, height=20, width=30):
    """One camera anywhere, with lenses of two focal lengths and an eccentric middle."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    pose = np.eye(4)
    pose[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    pose[:3, 3] = rng.standard_normal(3)
    intrinsics = np.array([[40.0, 0, 14.0], [0, 35.0, 11.0], [0, 0, 1]])
    return Cameras(torch.tensor(intrinsics)[None], torch.tensor(pose)[None], height, width)


def test_the_grid_goes_row_by_row():
    assert pixel_grid(2, 3).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


@pytest.mark.parametrize(("height", "width", "stride"), [(5, 7, 2), (6, 6, 3), (4, 5, 9)])
def test_a_strided_grid_is_every_so_many_th_column_and_row(height, width, stride):
    expected = [[u, v] for v in range(0, height, stride) for u in range(0, width, stride)]
    assert pixel_grid(height, width, stride).tolist() == expected


@pytest.mark.parametrize("centre", [0.5, 0.0])
def test_directions_are_those_of_the_formula(centre):
    one = camera()
    pixels = pixel_grid(one.height, one.width, 7)
    rays = pixel_rays(one, pixels, centre)
    rotation, intrinsics = one.cam_to_world[0, :3, :3].numpy(), one.intrinsics[0].numpy()
    for ray, (u, v) in enumerate(pixels.tolist()):
        plane = np.array([u + centre, v + centre, 1.0])
        expected = rotation @ np.linalg.solve(intrinsics, plane)
        np.testing.assert_allclose(rays.directions[ray], expected, rtol=1e-12)
        assert torch.equal(rays.origins[ray], one.cam_to_world[0, :3, 3])


def test_the_ray_through_the_middle_of_the_image_is_the_optical_axis():
    one = camera(height=22, width=28)  # its principal point is the middle
    middle = torch.tensor([[28 / 2 - 0.5, 22 / 2 - 0.5]])
    direction = pixel_rays(one, middle).directions[0]
    torch.testing.assert_close(direction, one.cam_to_world[0, :3, 2])


def test_depth_is_measured_along_the_optical_axis():
    one = camera()
    rays = pixel_rays(one, torch.tensor([[0, 0], [29, 3], [11, 19]]))
    depths = torch.tensor([[1.5, 4.0]], dtype=torch.float64).expand(3, 2)
    points = rays.points(depths)
    along_axis = (points - one.centres[0]) @ one.cam_to_world[0, :3, 2]
    torch.testing.assert_close(along_axis, depths)


def test_some_of_the_rays_keep_their_own_numbers():
    rays = Rays(torch.arange(12.0).reshape(4, 3), torch.arange(12.0, 24.0).reshape(4, 3))
    part = rays[1:3]
    assert len(part) == 2
    assert part.origins.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert part.directions.tolist() == [[15, 16, 17], [18, 19, 20]]


def test_rays_of_several_cameras_at_once_are_refused():
    one = camera()
    two = one[torch.tensor([0, 0])]
    with pytest.raises(ValueError, match=r"intrinsics: expected shape \(1 3 3\)"):
        pixel_rays(two, torch.tensor([[0, 0]]))


def test_depths_begin_at_near_and_end_at_far():
    for inverse in (True, False):
        depths = sample_depths(NEAR, FAR, 192, inverse)
        torch.testing.assert_close(depths[[0, -1]], torch.stack([NEAR, FAR]))
        assert (depths.diff() > 0).all()


def test_half_of_the_published_samples_lie_in_the_first_metre():
    depths = sample_depths(NEAR, FAR, 192)
    step = (1 / 1.2 - 1 / 48) / 191
    by_hand = [1 / (1 / 1.2 - i * step) for i in range(192)]
    torch.testing.assert_close(depths, torch.tensor(by_hand))
    assert float(depths[1] - depths[0]) == pytest.approx(0.006, abs=5e-4)
    assert float(depths[-1] - depths[-2]) == pytest.approx(8.1, abs=0.1)
    assert int((depths < 2.35).sum()) == pytest.approx(96, abs=1)


def test_a_single_sample_is_the_near_one():
    assert float(sample_depths(NEAR, FAR, 1)) == pytest.approx(1.2)


@pytest.mark.parametrize("inverse", [True, False])
def test_jittered_depths_stay_in_their_bins(inverse):
    depths = sample_depths(NEAR, FAR, 8)
    drawn = jitter_depths(depths, 500, torch.Generator().manual_seed(0), inverse)
    assert drawn.shape == (500, 8)
    for sample, here in enumerate(depths.tolist()):
        borders = []
        for other in (max(sample - 1, 0), min(sample + 1, 7)):
            there = float(depths[other])
            borders.append(2 / (1 / here + 1 / there) if inverse else (here + there) / 2)
        low, high = borders
        assert float(drawn[:, sample].min()) >= low - 1e-5
        assert float(drawn[:, sample].max()) <= high + 1e-5
        # The draws reach both ends of their bin.
        assert float(drawn[:, sample].max() - drawn[:, sample].min()) > 0.9 * (high - low)


@pytest.mark.parametrize("inverse", [True, False])
def test_jitter_is_even_in_inverse_depth_and_as_published_in_depth(inverse):
    depths = sample_depths(NEAR, FAR, 4)
    last = jitter_depths(depths, 20000, torch.Generator().manual_seed(0), inverse)[:, -1]
    low, high = float(last.min()), float(last.max())
    place_in_inverse = float(((1 / last - 1 / low) / (1 / high - 1 / low)).mean())
    place_in_depth = float(((last - low) / (high - low)).mean())
    even, uneven = (place_in_inverse, place_in_depth)[:: 1 if inverse else -1]
    assert even == pytest.approx(0.5, abs=0.01)
    assert abs(uneven - 0.5) > 0.05


def test_jitter_is_another_one_for_each_ray_and_the_same_for_a_seed():
    depths = sample_depths(NEAR, FAR, 5)
    draw = [jitter_depths(depths, 3, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert len(set(draw[0][:, 2].tolist())) == 3
