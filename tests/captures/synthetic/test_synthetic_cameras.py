import math

import numpy as np
import pytest
import torch

from gsn.captures.synthetic.cameras import (
    draw_cameras,
    draw_viewpoint,
    look_along,
    pixel_rays,
    poses_bounds,
)


def cameras(n_views=24, baseline=0.03, seed=0):
    rng = np.random.default_rng(seed)
    viewpoint = draw_viewpoint(rng)
    return viewpoint, draw_cameras(rng, viewpoint, n_views, baseline)


def test_a_level_camera_that_looks_along_y_has_its_axes_where_they_belong():
    right, down, forward = look_along(np.array([0.0, 2.0, 0.0]), 0.0).T
    np.testing.assert_allclose(right, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(down, [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(forward, [0, 1, 0], atol=1e-12)


def test_roll_turns_the_camera_about_its_optical_axis():
    rolled = look_along(np.array([0.3, 2.0, -0.5]), 0.2)
    level = look_along(np.array([0.3, 2.0, -0.5]), 0.0)
    np.testing.assert_allclose(rolled[:, 2], level[:, 2])
    assert rolled[:, 0] @ level[:, 0] == pytest.approx(math.cos(0.2))


def test_poses_are_rotations_of_positive_determinant_that_see_the_objects():
    viewpoint, array = cameras()
    for pose in array.cam_to_world:
        np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        x, y, z = pose[:3, :3].T @ (np.array([0.0, 0.3, 0.75]) - pose[:3, 3])
        assert abs(x / z) * array.focal < 0.15
        assert abs(y / z) * array.focal < 0.15
        assert z == pytest.approx(viewpoint.distance, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_other_view_is_about_one_baseline_away(seed):
    viewpoint, array = cameras(baseline=0.032, seed=seed)
    centres = array.cam_to_world[:, :3, 3]
    apart = np.linalg.norm(centres[:, None] - centres, axis=2) + 1e9 * np.eye(len(centres))
    disparity_px = array.focal * 192 * apart.min(1) / viewpoint.distance
    assert 3.5 < disparity_px.min()
    assert disparity_px.max() < 10.5


def test_cameras_stand_left_to_right_and_top_to_bottom_for_any_number():
    for n_views in (1, 2, 5, 7, 24):
        viewpoint, array = cameras(n_views)
        assert array.cam_to_world.shape == (n_views, 4, 4)
        offset = array.cam_to_world[:, :3, 3] - viewpoint.position
        assert np.abs(offset.mean(0)).max() < 0.03 * viewpoint.distance * 0.6
    x, y, _ = ((offset) @ viewpoint.rotation).T
    assert (np.diff(x.reshape(4, 6), axis=1) > 0).all()
    assert (np.diff(y.reshape(4, 6), axis=0) > 0).all()


def test_rows_of_poses_bounds_hold_down_right_backward_centre_and_size():
    _, array = cameras(3)
    bounds = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    rows = poses_bounds(array, 40, 30, bounds)
    assert rows.shape == (3, 17)
    assert rows.dtype == np.float64
    for row, pose, bound in zip(rows, array.cam_to_world, bounds, strict=True):
        matrix = row[:15].reshape(3, 5)
        right, down, forward, centre = pose[:3].T
        np.testing.assert_array_equal(matrix[:, 0], down)
        np.testing.assert_array_equal(matrix[:, 1], right)
        np.testing.assert_array_equal(matrix[:, 2], -forward)
        np.testing.assert_array_equal(matrix[:, 3], centre)
        np.testing.assert_allclose(matrix[:, 4], [30, 40, 40 * array.focal])
        np.testing.assert_array_equal(row[15:], bound)


def test_the_ray_of_a_pixel_goes_through_its_middle():
    pose = np.eye(4)
    pose[:3, 3] = [1, 2, 3]
    origin, direction, cosine = pixel_rays(pose, 50.0, 8, 6, 1, torch.device("cpu"))
    assert origin[:, 0].tolist() == [1, 2, 3]
    u, v = 5, 1
    expected = np.array([(u + 0.5 - 4) / 50, (v + 0.5 - 3) / 50, 1.0])
    got = (direction / cosine)[:, v * 8 + u]
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)
    torch.testing.assert_close(direction.norm(dim=0), torch.ones(48))


def test_samples_of_a_pixel_surround_its_middle_evenly():
    _, coarse, coarse_cosine = pixel_rays(np.eye(4), 50.0, 8, 6, 1, torch.device("cpu"))
    _, fine, fine_cosine = pixel_rays(np.eye(4), 50.0, 8, 6, 3, torch.device("cpu"))
    mean = (fine / fine_cosine).reshape(3, 6, 3, 8, 3).mean(dim=(2, 4)).flatten(1)
    torch.testing.assert_close(mean, coarse / coarse_cosine, atol=1e-6, rtol=0)
