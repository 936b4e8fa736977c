from dataclasses import replace

import pytest
import torch

from gsn.evaluation.segmentation.colour import colour_features
from gsn.evaluation.views.comparators import carried_view, mean_view, nearest_view, true_view
from gsn.evaluation.views.render_cache import RenderCache
from gsn.evaluation.views.rendering import SceneRenderer
from gsn.evaluation.views.scene_views import PICTURED, SceneViews
from gsn.model.sources import TeacherMaps

TARGET = 3  # held out
METHODS = {
    "model",
    "carried_by_depth",
    "nearest_view",
    "mean_view",
    "colour_only",
    "teacher_on_photo",
}


def assert_same(view, other):
    for found, expected in ((view.rgb, other.rgb), (view.feature, other.feature)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert (view.depth is None) == (other.depth is None)
    if view.depth is not None:
        torch.testing.assert_close(view.depth, other.depth, rtol=0, atol=0)


@pytest.mark.parametrize("view", [1, TARGET])
def test_a_view_is_shown_by_every_method(room_views, room, make_model, make_renderer, view):
    views = room_views.of(view)
    assert set(views) == METHODS
    rendered = make_renderer(make_model(4), room).view(view)
    torch.testing.assert_close(views["model"].rgb, rendered.rgb)
    torch.testing.assert_close(views["model"].feature, rendered.feature, atol=1e-3, rtol=0)
    torch.testing.assert_close(views["model"].depth, rendered.depth)
    # What is carried is carried by the very depth that the model rendered.
    assert_same(views["carried_by_depth"], carried_view(room, view, views["model"].depth, 3, 2))
    assert_same(views["nearest_view"], nearest_view(room, view, 2))
    assert_same(views["mean_view"], mean_view(room, view, 3, 2))
    assert_same(views["teacher_on_photo"], true_view(room, view, 2))
    assert_same(room_views.truth(view), true_view(room, view, 2))


def test_copies_of_source_views_show_the_view_of_a_prompt_as_its_photo(room_views, room):
    shown = room_views.prompted(1)
    assert set(shown) == METHODS
    for method, view in shown.items():
        if method in ("nearest_view", "mean_view"):
            assert_same(view, true_view(room, 1, 2))
        else:
            assert view is room_views.of(1)[method]


def test_colour_only_is_the_rendering_with_its_colours_for_features(room_views):
    views = room_views.of(TARGET)
    model, colour = views["model"], views["colour_only"]
    assert colour.rgb is model.rgb and colour.depth is model.depth
    torch.testing.assert_close(colour.feature, colour_features(model.rgb))
    assert not torch.allclose(colour.feature, model.feature, atol=0.1)


def test_pictures_of_their_own_are_those_of_methods_that_do_not_repeat_another():
    assert set(PICTURED) == METHODS - {"colour_only", "teacher_on_photo"}


def test_a_view_is_made_once_and_its_rendering_kept(
    make_model, make_renderer, room, tmp_path, monkeypatch
):
    renderer = make_renderer(make_model(4), room)
    views = SceneViews(renderer, RenderCache(tmp_path, "model", torch.device("cpu")))
    first = views.of(TARGET)
    assert views.of(TARGET) is first
    assert [path.name for path in tmp_path.iterdir()] == ["room_3.npz"]

    def never(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr(SceneRenderer, "view", never)
    cache = RenderCache(tmp_path, "model", torch.device("cpu"))
    again = SceneViews(renderer, cache).of(TARGET)
    for method in METHODS:
        assert_same(again[method], first[method])
    assert (cache.n_made, cache.n_reused) == (0, 1)


def test_no_method_but_the_teacher_sees_the_photo_of_the_target_view(
    make_model, make_views, room, room_views
):
    images, maps = room.images.clone(), room.teacher.values.clone()
    images[[0, TARGET]] = 255 - images[[0, TARGET]]
    maps[[0, TARGET]] = maps[[0, TARGET]].flip(1)
    other = replace(room, images=images, teacher=TeacherMaps(maps, room.teacher.grid))
    views = make_views(make_model(4), other).of(TARGET)
    for method in METHODS - {"teacher_on_photo"}:
        assert_same(views[method], room_views.of(TARGET)[method])
    assert not torch.equal(views["teacher_on_photo"].rgb, room_views.of(TARGET)["model"].rgb)


def features_shown(views):
    return {method for method, view in views.items() if view.feature is not None}


def test_a_model_without_feature_head_has_no_features_and_others_keep_theirs(
    make_model, make_views, room
):
    views = make_views(make_model(), room).of(TARGET)
    assert features_shown(views) == METHODS - {"model"}
    assert views["colour_only"].feature.shape == (12, 14, 4)


def test_without_teacher_maps_colour_alone_has_features(make_model, make_views, make_scene):
    views = make_views(make_model(), make_scene(held_out=(0, 3), channels=None)).of(TARGET)
    assert set(views) == METHODS
    assert features_shown(views) == {"colour_only"}


@pytest.mark.parametrize(
    ("view", "others", "nearest"),
    [
        (3, [0, 1, 4], 4),
        (3, [0, 3, 1], 1),  # itself is none of the others
        (0, [5, 4, 2, 3], 2),
        (3, [3], None),
        (3, [], None),
    ],
)
def test_the_nearest_of_other_views_is_the_one_whose_camera_is_closest(
    room_views, view, others, nearest
):
    assert room_views.nearest_other(view, others) == nearest


def test_it_is_the_place_of_the_camera_that_counts_and_not_the_number_of_the_view(
    make_model, make_views, room
):
    poses = room.cameras.cam_to_world.clone()
    poses[[1, 5]] = poses[[5, 1]]
    scene = replace(room, cameras=replace(room.cameras, cam_to_world=poses))
    assert make_views(make_model(4), scene).nearest_other(0, [1, 2, 3, 4, 5]) == 5
