from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from gsn.evaluation.views import (
    encode_pool,
    mean_view,
    nearest_in_pool,
    nearest_view,
    render_view,
    true_view,
)
from gsn.training.batches import target_features

HELD_OUT = (0, 3)  # of 6 views, so that 1, 2, 4 and 5 are sources


@pytest.fixture(scope="module")
def scene(make_scene):
    return make_scene(held_out=HELD_OUT)


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(4)


def render(model, scene, target, n_sources=9, stride=4, chunk_rays=1000):
    pool = encode_pool(model, scene)
    return render_view(model, scene, target, pool, n_sources, stride, chunk_rays)


def with_other_photo(scene, *views):
    images = scene.images.clone()
    images[list(views)] = 255 - images[list(views)]
    return replace(scene, images=images)


def test_the_pool_is_every_view_that_is_not_held_out(model, scene):
    pool = encode_pool(model, scene)
    with torch.no_grad():
        at_once = scene.encode(model, torch.tensor([1, 2, 4, 5]))
    assert torch.equal(pool.cameras.centres, at_once.cameras.centres)
    torch.testing.assert_close(pool.images, at_once.images)
    torch.testing.assert_close(pool.encoded, at_once.encoded)
    torch.testing.assert_close(pool.teacher.values, at_once.teacher.values)
    assert pool.teacher.grid == scene.teacher.grid


def test_without_teacher_maps_the_pool_has_none(make_model, make_scene):
    assert encode_pool(make_model(), make_scene(channels=None)).teacher is None


def test_a_view_is_the_same_in_chunks_of_any_size(model, scene):
    whole = render(model, scene, 3)
    for chunk_rays in (1, 5, 42):
        parts = render(model, scene, 3, chunk_rays=chunk_rays)
        torch.testing.assert_close(parts.rgb, whole.rgb)
        torch.testing.assert_close(parts.feature, whole.feature)
        torch.testing.assert_close(parts.depth, whole.depth)


def test_every_so_many_th_pixel_is_that_of_the_whole_view(model, scene):
    whole = render(model, scene, 3, stride=1)
    assert whole.rgb.shape == (24, 28, 3)
    strided = render(model, scene, 3, stride=5)
    assert strided.rgb.shape == (5, 6, 3)
    assert strided.feature.shape == (5, 6, 4)
    torch.testing.assert_close(strided.rgb, whole.rgb[::5, ::5])
    torch.testing.assert_close(strided.depth, whole.depth[::5, ::5])


def test_a_render_holds_colours_up_to_one_unit_features_and_depth_within_range(model, scene):
    view = render(model, scene, 3)
    assert 0 <= view.rgb.min() and view.rgb.max() <= 1
    torch.testing.assert_close(view.feature.norm(dim=-1), torch.ones(6, 7))
    assert scene.near <= view.depth.min() and view.depth.max() <= scene.far


@pytest.mark.parametrize("target", [2, 3])
def test_the_photo_of_the_target_is_never_a_source(model, scene, target):
    expected = render(model, scene, target)
    found = render(model, with_other_photo(scene, target), target)
    assert torch.equal(found.rgb, expected.rgb)
    assert torch.equal(found.feature, expected.feature)


def test_held_out_photos_are_never_sources(model, scene):
    expected = render(model, scene, 2)
    assert torch.equal(render(model, with_other_photo(scene, *HELD_OUT), 2).rgb, expected.rgb)


def test_only_the_nearest_views_are_sources(model, scene):
    # Cameras stand in a row: nearest to view 3 are 2 and 4.
    expected = render(model, scene, 3, n_sources=2)
    far_changed = render(model, with_other_photo(scene, 1, 5), 3, n_sources=2)
    assert torch.equal(far_changed.rgb, expected.rgb)
    for view in (2, 4):
        near_changed = render(model, with_other_photo(scene, view), 3, n_sources=2)
        assert not torch.allclose(near_changed.rgb, expected.rgb)


def test_a_stage_one_model_renders_no_feature(make_model, scene):
    assert render(make_model(), scene, 3).feature is None


def test_the_nearest_views_are_counted_within_the_pool(scene):
    # Pool positions 0, 1, 2, 3 are the views 1, 2, 4, 5.
    assert nearest_in_pool(scene, 3, 2).tolist() in ([1, 2], [2, 1])
    assert nearest_in_pool(scene, 5, 9).tolist() == [2, 1, 0]
    assert nearest_in_pool(scene, 0, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("stride", [1, 3])
def test_the_truth_is_the_photo_and_the_teacher_at_the_same_pixels(scene, stride):
    truth = true_view(scene, 3, stride)
    photo = scene.images[3].permute(1, 2, 0)[::stride, ::stride]
    torch.testing.assert_close(truth.rgb * 255, photo.float())
    height, width = truth.rgb.shape[:2]
    pixels = [[u, v] for v in range(0, 24, stride) for u in range(0, 28, stride)]
    expected = target_features(scene, torch.tensor(3), torch.tensor(pixels))
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
