from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from gsn.evaluation import scene_pictures
from gsn.evaluation.report.pictures import FeatureColours, colour_depth, overlay_mask, to_picture
from gsn.evaluation.scene_pictures import ScenePictures
from gsn.evaluation.scene_scores import Segmentation, ViewResult
from gsn.evaluation.views import View, true_view
from gsn.model.sources import TeacherMaps

H, W = 12, 14


def result_of(scene, with_feature=True, depth=True, segmentation=None):
    draw = torch.Generator().manual_seed(1)
    rendered = View(
        torch.rand(H, W, 3, generator=draw),
        torch.randn(H, W, 4, generator=draw) if with_feature else None,
        1.2 + 6 * torch.rand(H, W, generator=draw) if depth else None,
    )
    return ViewResult("view_0", true_view(scene, 0, 2), rendered, {}, segmentation)


@pytest.fixture
def panels(monkeypatch):
    """The titled pictures that were set in a row."""
    caught = []

    def catch(row):
        caught.extend(row)
        return np.zeros((4, 5, 3), np.uint8)

    monkeypatch.setattr(scene_pictures, "strip", catch)
    return caught


def test_a_strip_is_written_under_the_name_of_the_view(make_scene, tmp_path):
    scene = make_scene()
    ScenePictures(scene, tmp_path / "room").write(result_of(scene))
    assert [path.name for path in (tmp_path / "room").iterdir()] == ["view_0.png"]
    picture = cv2.imread(str(tmp_path / "room" / "view_0.png"))
    assert picture.shape[1] > 5 * picture.shape[0] / 2  # five panels beside one another


def test_each_panel_shows_what_its_title_says(make_scene, tmp_path, panels):
    scene = make_scene()
    found = Segmentation("cup", np.eye(H, W) > 0, np.eye(H, W, 1) > 0)
    result = result_of(scene, segmentation=found)
    ScenePictures(scene, tmp_path).write(result)
    titles = ["photo", "render", "depth", "teacher (fake)", "rendered features", "cup"]
    assert [title for title, _ in panels] == titles
    maps = scene.teacher_maps(scene.source_pool).values.permute(0, 2, 3, 1)
    colours = FeatureColours.fit(list(maps))
    photo = to_picture(result.truth.rgb)
    expected = [
        photo,
        to_picture(result.rendered.rgb),
        colour_depth(result.rendered.depth, 1.2, 8.0),
        colours(result.truth.feature),
        colours(result.rendered.feature),
        overlay_mask(photo, found.predicted, found.truth),
    ]
    for (title, picture), by_hand in zip(panels, expected, strict=True):
        np.testing.assert_array_equal(picture, by_hand, title)


def test_what_is_not_there_has_no_panel(make_scene, tmp_path, panels):
    scene = make_scene()
    result = result_of(scene, with_feature=False, depth=False)
    ScenePictures(scene, tmp_path).write(result)
    assert [title for title, _ in panels] == ["photo", "render", "teacher (fake)"]
    panels.clear()
    scene = make_scene(channels=None)
    ScenePictures(scene, tmp_path).write(result_of(scene, with_feature=False))
    assert [title for title, _ in panels] == ["photo", "render", "depth"]


def test_colours_come_from_source_views_alone(make_scene, tmp_path, panels):
    scene = make_scene()
    maps = scene.teacher.values.clone()
    maps[0] = 5  # held out
    other = replace(scene, teacher=TeacherMaps(maps, scene.teacher.grid))
    for one in (scene, other):
        ScenePictures(one, tmp_path).write(result_of(scene))
    first, second = panels[: len(panels) // 2], panels[len(panels) // 2 :]
    for (title, picture), (_, again) in zip(first, second, strict=True):
        np.testing.assert_array_equal(picture, again, title)
