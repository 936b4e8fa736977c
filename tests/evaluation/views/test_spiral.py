import math

import pytest
import torch

from gsn.evaluation.views.spiral import spiral
from gsn.geometry.cameras import Cameras
from gsn.geometry.projection import project

NEAR, FAR = torch.tensor(1.2), torch.tensor(8.0)


def cameras_of(poses):
    intrinsics = torch.tensor([[30.0, 0, 14], [0, 30.0, 12], [0, 0, 1]])
    return Cameras(intrinsics.repeat(len(poses), 1, 1), torch.stack(poses), 24, 28)


def ahead(x, y, z=0.0):
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([x, y, z])
    return pose


@pytest.fixture
def facing():
    """A wall of cameras that all look along z: 11 columns, 11 rows, two depths."""
    return cameras_of(
        [ahead(x / 10, y / 20, z) for x in range(-5, 6) for y in range(-5, 6) for z in (-0.2, 0.2)]
    )


@pytest.fixture
def orbit():
    """Cameras on a circle of radius 4 that look at its middle."""
    poses = []
    for i in range(24):
        angle = 2 * math.pi * i / 24
        pose = torch.eye(4)
        forward = torch.tensor([-math.sin(angle), 0.0, -math.cos(angle)])
        pose[:3, 2] = forward
        pose[:3, 1] = torch.tensor([0.0, 1.0, 0.0])
        pose[:3, 0] = torch.linalg.cross(pose[:3, 1], forward)
        pose[:3, 3] = -4 * forward
        poses.append(pose)
    return cameras_of(poses)


def test_cameras_stand_on_the_spiral_of_the_formula(facing):
    path = spiral(facing, NEAR, FAR, 120)
    # The 90th percentile of |t| along each axis, by hand: 0.5, 0.25 and 0.2; y and z of OpenCV
    # point the other way than those of the formula.
    for i, centre in enumerate(path.centres):
        angle = 4 * math.pi * i / 120
        by_hand = [0.5 * math.cos(angle), 0.25 * math.sin(angle), 0.2 * math.sin(angle / 2)]
        torch.testing.assert_close(centre, torch.tensor(by_hand), atol=1e-5, rtol=0)


def test_all_cameras_look_at_the_focus(facing):
    path = spiral(facing, NEAR, FAR, 30)
    focus = 1 / (0.25 / 1.2 + 0.75 / (5 * 8 / 1.6))
    seen = project(torch.tensor([[0.0, 0.0, focus]]), path)
    assert seen.visible.all()
    torch.testing.assert_close(seen.pixels[:, 0], torch.tensor([13.5, 11.5]).expand(30, 2))


def test_poses_are_rotations_that_stay_upright(facing):
    path = spiral(facing, NEAR, FAR, 16)
    turn = path.cam_to_world[:, :3, :3]
    identity = torch.eye(3).expand(16, 3, 3)
    torch.testing.assert_close(turn.transpose(1, 2) @ turn, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(16))
    assert (turn[:, 1, 1] > 0.9).all()  # down stays down
    torch.testing.assert_close(turn[:, 1, 0], torch.zeros(16), atol=1e-6, rtol=0)


def test_around_an_orbit_the_path_stays_outside_and_looks_in(orbit):
    path = spiral(orbit, NEAR, FAR, 20)
    assert (path.centres.norm(dim=1) > 3).all()
    inwards = -torch.nn.functional.normalize(path.centres, dim=1)
    assert ((path.cam_to_world[:, :3, 2] * inwards).sum(1) > 0.8).all()


def test_a_single_camera_stays_where_it_is():
    path = spiral(cameras_of([ahead(0.3, 0.1)]), NEAR, FAR, 3)
    expected = ahead(0.3, 0.1).expand(3, 4, 4)
    torch.testing.assert_close(path.cam_to_world, expected, atol=1e-6, rtol=0)
