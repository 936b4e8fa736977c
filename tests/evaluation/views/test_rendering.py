from dataclasses import replace

import pytest
import torch

from gsn.evaluation.views.rendering import (
    RenderConfig,
    SceneRenderer,
    encode_pool,
    nearest_in_pool,
)
from gsn.model.scene import Scene

HELD_OUT = (0, 3)  # of 6 views, so that 1, 2, 4 and 5 are sources


@pytest.fixture(scope="module")
def scene(make_scene):
    return make_scene(held_out=HELD_OUT)


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(4)


def render(model, scene, target, n_sources=9, stride=4, chunk_rays=1000):
    return SceneRenderer(model, scene, RenderConfig(n_sources, stride, chunk_rays)).view(target)


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


def test_a_camera_that_took_no_photo_sees_what_a_view_at_its_place_sees(model, scene):
    renderer = SceneRenderer(model, scene, RenderConfig(3, 4, 1000))
    # View 0 is held out: not even by its number are its sources chosen otherwise.
    by_camera = renderer.camera(scene.cameras[:1], 4)
    torch.testing.assert_close(by_camera.rgb, renderer.view(0).rgb)
    torch.testing.assert_close(by_camera.feature, renderer.view(0).feature)
    assert renderer.camera(scene.cameras[:1], 8).rgb.shape == (3, 4, 3)


def test_views_are_encoded_once_and_only_when_one_is_rendered(model, scene, monkeypatch):
    calls = []
    encode = Scene.encode
    monkeypatch.setattr(Scene, "encode", lambda *args: calls.append(1) or encode(*args))
    renderer = SceneRenderer(model, scene, RenderConfig(2, 8, 1000))
    assert calls == []
    renderer.view(0)
    renderer.view(3)
    assert len(calls) == 4
