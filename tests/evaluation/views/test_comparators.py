from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from gsn.evaluation.views.comparators import carried_view, mean_view, nearest_view, true_view
from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.model.scene import Scene
from gsn.model.sources import TeacherMaps
from gsn.training.batches import features_at

HELD_OUT = (0, 3)  # of 6 views, so that 1, 2, 4 and 5 are sources
WALL_DEPTH = 4.0


@pytest.fixture(scope="module")
def scene(make_scene):
    return make_scene(held_out=HELD_OUT)


@pytest.fixture(scope="module")
def wall():
    """A wall across the optical axis, seen by four cameras side by side: all of it is known.

    A camera moved by 0.4 to the right sees everything 30 · 0.4 / 4 = 3 pixels further left.
    """
    height, width, step_px, n_views = 12, 40, 3, 4
    picture = torch.randint(256, (3, height, width + step_px * n_views)).to(torch.uint8)
    features = torch.randn(5, height, width + step_px * n_views)
    poses = torch.eye(4).repeat(n_views, 1, 1)
    poses[:, 0, 3] = 0.4 * torch.arange(n_views)
    intrinsics = torch.tensor([[30.0, 0, width / 2], [0, 30.0, height / 2], [0, 0, 1]])

    def windows(values):
        return torch.stack([values[..., step_px * i :][..., :width] for i in range(n_views)])

    return Scene(
        name="wall",
        view_names=tuple("abcd"),
        held_out=torch.tensor([False, True, False, False]),
        cameras=Cameras(intrinsics.repeat(n_views, 1, 1), poses, height, width),
        images=windows(picture),
        near=torch.tensor(1.0),
        far=torch.tensor(8.0),
        teacher=TeacherMaps(windows(features).half(), CellGrid((0.0, 0.0), (1.0, 1.0))),
        teacher_name="fake",
    )


@pytest.mark.parametrize("stride", [1, 3])
def test_the_truth_is_the_photo_and_the_teacher_at_the_same_pixels(scene, stride):
    truth = true_view(scene, 3, stride)
    photo = scene.images[3].permute(1, 2, 0)[::stride, ::stride]
    torch.testing.assert_close(truth.rgb * 255, photo.float())
    height, width = truth.rgb.shape[:2]
    pixels = [[u, v] for v in range(0, 24, stride) for u in range(0, 28, stride)]
    maps = TeacherMaps(scene.teacher.values[3:4], scene.teacher.grid)
    expected = features_at(maps, torch.tensor(pixels))
    torch.testing.assert_close(truth.feature, expected.reshape(height, width, 4))
    assert truth.depth is None


def test_without_teacher_the_truth_and_the_baselines_are_colour_alone(make_scene):
    scene = make_scene(channels=None)
    views = [true_view(scene, 3, 2), nearest_view(scene, 3, 2), mean_view(scene, 3, 2, 2)]
    assert [view.feature for view in views] == [None] * 3


def test_the_nearest_view_is_the_photo_of_the_closest_source_camera(scene):
    copied = nearest_view(scene, 0, 2)
    torch.testing.assert_close(copied.rgb, true_view(scene, 1, 2).rgb)
    torch.testing.assert_close(copied.feature, true_view(scene, 1, 2).feature)
    # The closest camera to a source view is another one, not itself.
    assert torch.equal(nearest_view(scene, 5, 2).rgb, true_view(scene, 4, 2).rgb)


def test_the_mean_view_is_the_mean_of_the_sources_of_the_model(scene):
    mean = mean_view(scene, 3, 2, 4)
    two = [true_view(scene, view, 4) for view in (2, 4)]
    torch.testing.assert_close(mean.rgb, (two[0].rgb + two[1].rgb) / 2)
    expected = F.normalize(two[0].feature + two[1].feature, dim=-1)
    torch.testing.assert_close(mean.feature, expected)


def test_on_a_wall_of_known_depth_all_is_carried_exactly(wall):
    truth = true_view(wall, 1, 2)
    depth = torch.full(truth.rgb.shape[:2], WALL_DEPTH)
    carried = carried_view(wall, 1, depth, 2, 2)
    # View a begins 3 px further left, view c 3 px further right: together they see all of it.
    # Rounding puts points of the first row before or behind the edge of other photos.
    torch.testing.assert_close(carried.rgb[1:], truth.rgb[1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(carried.feature[1:], truth.feature[1:], atol=1e-3, rtol=0)
    wrong = carried_view(wall, 1, depth / 2, 2, 2)
    assert (wrong.rgb - truth.rgb).abs().mean() > 0.1


def test_a_point_that_one_source_view_sees_is_that_of_this_view_alone(wall):
    depth = torch.full((12, 40), WALL_DEPTH)
    changed = replace(wall, images=wall.images.clone())
    changed.images[2] = 0
    rgb = carried_view(changed, 1, depth, 2, 1).rgb
    truth = true_view(wall, 1, 1).rgb
    # The three left columns of view b are not in view c, its three right ones not in view a.
    inner = slice(1, -1)
    torch.testing.assert_close(rgb[inner, :3], truth[inner, :3], atol=1e-4, rtol=0)
    torch.testing.assert_close(rgb[inner, 4:36], truth[inner, 4:36] / 2, atol=1e-4, rtol=0)
    assert not rgb[inner, 37:].any()


def test_what_no_source_view_sees_is_grey_and_has_no_feature(wall):
    carried = carried_view(wall, 1, torch.full((12, 40), 0.01), 2, 1)
    unseen = carried.feature.norm(dim=-1) == 0
    assert unseen.any()
    assert (carried.rgb[unseen] == 0.5).all()


def test_the_target_photo_takes_no_part_in_what_is_carried(wall):
    depth = torch.full((12, 40), WALL_DEPTH)
    blank = replace(wall, images=wall.images.clone())
    blank.images[1] = 0
    blank.teacher.values[1] = 0
    assert torch.equal(
        carried_view(blank, 1, depth, 2, 1).rgb, carried_view(wall, 1, depth, 2, 1).rgb
    )
