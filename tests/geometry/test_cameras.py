import pytest
import torch

from gsn.geometry.cameras import Cameras


def cameras(n_views=3):
    poses = torch.eye(4).repeat(n_views, 1, 1)
    poses[:, :3, 3] = torch.arange(3.0 * n_views).reshape(n_views, 3)
    intrinsics = torch.eye(3).repeat(n_views, 1, 1) * torch.arange(1.0, n_views + 1)[:, None, None]
    return Cameras(intrinsics, poses, 20, 30)


def test_the_centre_is_where_the_pose_puts_the_origin():
    some = cameras()
    origin = torch.tensor([0.0, 0.0, 0.0, 1.0])
    for view in range(len(some)):
        assert some.centres[view].tolist() == (some.cam_to_world[view] @ origin)[:3].tolist()


def test_some_of_the_cameras_keep_their_own_numbers_in_the_order_asked_for():
    some = cameras()[torch.tensor([2, 0])]
    assert len(some) == 2
    assert some.centres.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert some.intrinsics[:, 0, 0].tolist() == [3, 1]
    assert (some.height, some.width) == (20, 30)
    assert cameras()[1:].centres.tolist() == [[3, 4, 5], [6, 7, 8]]


def turned():
    """Two cameras without symmetry, in float64."""
    draw = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(2, 3, 3, generator=draw, dtype=torch.float64)).Q
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = torch.randn(2, 3, generator=draw, dtype=torch.float64)
    intrinsics = torch.tensor([[25.0, 0.5, 16], [0, 28, 11], [0, 0, 1]], dtype=torch.float64)
    return Cameras(intrinsics.repeat(2, 1, 1), poses, 20, 30)


def test_matrices_lead_from_the_world_to_the_image_plane_and_back():
    some, point = turned(), torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64)
    for view in range(2):
        pose = some.cam_to_world[view]
        in_camera = pose[:3, :3].T @ (point - pose[:3, 3])
        plane = some.intrinsics[view] @ in_camera
        got = some.world_to_plane[view] @ torch.cat([point, torch.ones(1)])
        torch.testing.assert_close(got, plane)
        direction = some.plane_to_world[view] @ (plane / plane[2])
        torch.testing.assert_close(pose[:3, 3] + plane[2] * direction, point)


def test_nothing_is_inverted_again_for_some_of_the_cameras(monkeypatch):
    some = turned()
    monkeypatch.delattr(torch.linalg, "inv")
    swapped = some[torch.tensor([1, 0])].to(torch.device("cpu"))
    for values, of_all in zip(swapped.tensors, some.tensors, strict=True):
        assert torch.equal(values, of_all.flip(0))


def test_matrices_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        made = cameras()
    assert {values.dtype for values in made.tensors} == {torch.float32}


def test_moving_to_a_device_changes_no_number():
    moved = cameras().to(torch.device("cpu"))
    assert torch.equal(moved.intrinsics, cameras().intrinsics)
    assert torch.equal(moved.cam_to_world, cameras().cam_to_world)


def test_shapes_that_do_not_fit_are_refused():
    good = cameras()
    with pytest.raises(ValueError, match=r"intrinsics: expected shape \(V 3 3\), got \(3, 4, 4\)"):
        Cameras(good.cam_to_world, good.cam_to_world, 20, 30)
    with pytest.raises(ValueError, match=r"cam_to_world: expected shape \(3 4 4\)"):
        Cameras(good.intrinsics, good.cam_to_world[:2], 20, 30)
