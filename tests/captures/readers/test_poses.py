import numpy as np
import pytest

from gsn.captures.capture import CaptureError
from gsn.captures.readers.poses import mean_cam_to_world, read_poses_bounds, recentre


def rotation_about_vertical(angle):
    """Camera axes right, up, backward as columns, turned about the world's y axis."""
    return np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )


def orbit(n_views, tilt=0.0):
    """Cameras on a full circle that look at its centre, tilted down by an angle."""
    tilted = np.array(
        [[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]]
    )
    cam_to_world = np.tile(np.eye(4), (n_views, 1, 1))
    for k in range(n_views):
        axes = rotation_about_vertical(2 * np.pi * k / n_views) @ tilted
        cam_to_world[k, :3, :3] = axes
        cam_to_world[k, :3, 3] = 5 * axes[:, 2]
    return cam_to_world


@pytest.mark.parametrize("tilt", [0.0, 0.4, np.pi / 2])
def test_a_full_orbit_has_a_mean_camera_although_its_axes_cancel(tilt):
    mean = mean_cam_to_world(orbit(8, tilt))
    axes = mean[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1.0)


def test_two_cameras_average_to_the_one_between():
    cam_to_world = np.tile(np.eye(4), (2, 1, 1))
    for k, angle in enumerate((0.2, 0.8)):
        cam_to_world[k, :3, :3] = rotation_about_vertical(angle)
    cam_to_world[:, :3, 3] = [[1, 2, 3], [5, 2, -1]]
    mean = mean_cam_to_world(cam_to_world)
    np.testing.assert_allclose(mean[:3, :3], rotation_about_vertical(0.5), atol=1e-12)
    np.testing.assert_allclose(mean[:3, 3], [3, 2, 1])


def test_recentring_keeps_how_cameras_see_one_another():
    cams = orbit(5, 0.3)[:3]
    moved = recentre(cams)
    for a in range(3):
        for b in range(3):
            expected = np.linalg.inv(cams[a]) @ cams[b]
            np.testing.assert_allclose(np.linalg.inv(moved[a]) @ moved[b], expected, atol=1e-12)


def test_poses_without_a_row_are_refused(tmp_path):
    np.save(tmp_path / "poses_bounds.npy", np.zeros((0, 17)))
    with pytest.raises(CaptureError, match=r"poses_bounds\.npy"):
        read_poses_bounds(tmp_path / "poses_bounds.npy")
