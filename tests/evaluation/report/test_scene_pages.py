from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from gsn.evaluation.metrics.mask_table import MaskRow
from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.object_search import ObjectSearch, Search
from gsn.evaluation.report.film import film_frame
from gsn.evaluation.report.marks import draw_mask, draw_prompt
from gsn.evaluation.report.outlines import enlarge, enlarge_smoothly
from gsn.evaluation.report.pictures import (
    FeatureColours,
    colour_depth,
    colour_scores,
    overlay_mask,
    to_picture,
)
from gsn.evaluation.report.scene_pages import ScenePages, view_scores
from gsn.evaluation.report.strip import strip
from gsn.evaluation.scene_scores import SceneScorer, ViewResult
from gsn.model.sources import TeacherMaps

TARGET = 3  # held out
# Pictures of 12 x 14 or 24 x 28 pixels are enlarged to about 384, before anything is drawn on them.
SCALE, PHOTO_SCALE = 27, 14
OF_ALL = ["photo", "render", "depth", "teacher (fake)", "rendered features"]


class Room:
    """Everything that stands around the pages of one scene."""

    def __init__(self, views, prompts, masks, config, folder):
        self.views, self.prompts = views, prompts
        self.objects = ObjectSearch(prompts, views, config.segmentation)
        names = views.scene.view_names
        masks = {view: mask[::2, ::2] for view, mask in masks.items()}
        self.truth = TrueMasks("room", names, ("cup", "jar"), masks, 0.04)
        self.pages = ScenePages(views, self.objects, prompts, self.truth, folder)
        self.scorer = SceneScorer(
            views, self.objects, None, self.truth, [], None, config.consistency
        )

    def add(self, target=TARGET):
        """Draw the row of a view; return it with what was found."""
        result = self.scorer.score(target)
        self.pages.add(result)
        return self.pages.section(None).rows[-1], result


@pytest.fixture
def make_room(room_views, room_mask, make_prompt, config, tmp_path):
    def build(views=room_views, prompts=None, masks=None):
        prompts = [make_prompt("jar"), make_prompt("cup")] if prompts is None else prompts
        masks = dict.fromkeys(range(6), room_mask) if masks is None else masks
        return Room(views, prompts, masks, config, tmp_path / "images")

    return build


def titles(row):
    return [panel.title for panel in row.panels]


def picture(row, title):
    return row.panels[titles(row).index(title)].picture


def source_colours(scene):
    maps = scene.teacher.values[~scene.held_out].float()
    return FeatureColours.fit(list(maps.permute(0, 2, 3, 1)))


def test_a_view_is_a_row_of_pictures_from_the_photo_to_the_mask(make_room, room, room_views):
    row, result = make_room().add()
    assert row.view == "room_3"
    assert titles(row) == [*OF_ALL, "score: cup", "cup"]
    views = room_views.of(TARGET)
    photo = room.images[TARGET].permute(1, 2, 0)[::2, ::2].numpy()
    np.testing.assert_array_equal(picture(row, "photo"), photo)
    np.testing.assert_array_equal(picture(row, "render"), to_picture(views["model"].rgb))
    depth = colour_depth(views["model"].depth, float(room.near), float(room.far))
    np.testing.assert_array_equal(picture(row, "depth"), depth)
    found = result.found[Search("model", "cup", 0)].mask
    truth = np.zeros((24, 28), bool)
    truth[4:20, 4:12] = True
    shown = overlay_mask(photo, found, truth[::2, ::2], SCALE)
    np.testing.assert_array_equal(picture(row, "cup"), shown)
    lossless = {panel.title for panel in row.panels if panel.lossless}
    assert lossless == {"teacher (fake)", "rendered features", "cup"}


def test_features_of_teacher_and_model_have_the_same_colours_those_of_the_source_views(
    make_room, room, room_views, make_views, make_model
):
    row, _ = make_room().add()
    colours, views = source_colours(room), room_views.of(TARGET)
    for title, method in (("teacher (fake)", "teacher_on_photo"), ("rendered features", "model")):
        np.testing.assert_array_equal(picture(row, title), colours(views[method].feature))
    maps = room.teacher.values.clone()
    maps[room.held_out] = torch.randn(2, *maps.shape[1:]).half()
    other = replace(room, teacher=TeacherMaps(maps, room.teacher.grid))
    row_of_other, _ = make_room(make_views(make_model(4), other)).add()
    title = "rendered features"
    np.testing.assert_array_equal(picture(row_of_other, title), picture(row, title))
    assert (picture(row_of_other, "teacher (fake)") != picture(row, "teacher (fake)")).any()


def test_scores_are_coloured_from_end_to_end_of_those_in_the_view_of_the_prompt(
    make_room, room_views
):
    room = make_room()
    row, result = room.add()
    search = Search("model", "cup", 0)
    segmenter = room.objects.segmenters[search]
    prompted = room_views.of(1)["model"]
    low, high = np.percentile(segmenter(prompted.feature, prompted.rgb).scores, (1.0, 99.5))
    expected = colour_scores(result.found[search].scores, low, high, segmenter.threshold, SCALE)
    np.testing.assert_array_equal(picture(row, "score: cup"), expected)


def test_scores_that_are_all_equal_in_the_view_of_the_prompt_are_pictured(
    make_room, make_views, make_model, room
):
    flat = TeacherMaps(torch.ones_like(room.teacher.values), room.teacher.grid)
    row, _ = make_room(make_views(make_model(4), replace(room, teacher=flat))).add()
    assert picture(row, "score: cup").shape == (12 * SCALE, 14 * SCALE, 3)


def test_the_row_is_written_as_one_picture(make_room, tmp_path):
    row, _ = make_room().add()
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["room_3.png"]
    written = cv2.imread(str(tmp_path / "images" / "room_3.png"))[..., ::-1]
    expected = strip([(panel.title, panel.picture) for panel in row.panels])
    np.testing.assert_array_equal(written, expected)


def test_the_object_that_is_pictured_is_the_largest_of_the_view(make_room, room_mask):
    jar_alone = np.where(room_mask == 2, room_mask, 0).astype(np.uint8)
    row, _ = make_room(masks=dict.fromkeys(range(6), room_mask) | {TARGET: jar_alone}).add()
    assert titles(row)[-2:] == ["score: jar", "jar"]


def test_without_masks_the_mask_that_was_found_is_pictured_alone(make_room, room):
    row, result = make_room(masks={}).add()
    assert titles(row) == [*OF_ALL, "score: jar", "jar (truth unknown)"]
    photo = room.images[TARGET].permute(1, 2, 0)[::2, ::2].numpy()
    shown = draw_mask(photo, result.found[Search("model", "jar", 0)].mask, SCALE)
    np.testing.assert_array_equal(picture(row, "jar (truth unknown)"), shown)
    assert row.scores["model"].keys() == {"psnr_db", "ssim", "feature_cosine", "feature_mse"}


def test_without_prompts_no_object_is_pictured(make_room):
    assert titles(make_room(prompts=[]).add()[0]) == OF_ALL


def test_a_model_without_feature_head_has_no_features_to_picture(
    make_room, make_views, make_model, room, make_scene
):
    row, _ = make_room(make_views(make_model(), room)).add()
    assert titles(row) == ["photo", "render", "depth", "teacher (fake)"]
    bare = make_scene("room", held_out=(0, TARGET), channels=None)
    row, _ = make_room(make_views(make_model(), bare)).add()
    assert titles(row) == ["photo", "render", "depth"]


def test_the_section_shows_the_first_prompt_of_each_object_in_its_whole_photo(
    make_room, make_prompt, room
):
    prompts = [make_prompt("jar"), make_prompt("cup", view="room_4"), make_prompt("cup", draw=1)]
    section = make_room(prompts=prompts).pages.section(b"film")
    assert [panel.title for panel in section.prompts] == [
        "jar in view room_1",
        "cup in view room_4",
    ]
    for panel, prompt, view in zip(section.prompts, prompts, (1, 4), strict=False):
        photo = room.images[view].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(panel.picture, draw_prompt(photo, prompt, PHOTO_SCALE))
    assert (section.name, section.film) == ("room", b"film")


def test_rows_stand_in_the_order_in_which_they_were_drawn(make_room):
    room = make_room()
    room.add(TARGET)
    room.add(0)
    assert [row.view for row in room.pages.section(None).rows] == ["room_3", "room_0"]


@pytest.mark.parametrize(
    ("masked", "pointed_at", "note"),
    [
        (range(6), True, None),
        ((TARGET,), True, None),
        ((), True, "No mask of a held-out view"),
        ((1, 2), True, "No mask of a held-out view"),
        ((), False, "No object is searched for"),
        ((TARGET,), False, "No stroke is drawn"),
    ],
)
def test_the_section_says_what_cannot_be_told(make_room, room_mask, masked, pointed_at, note):
    room = make_room(prompts=None if pointed_at else [], masks=dict.fromkeys(masked, room_mask))
    room.add()
    notes = room.pages.section(None).notes
    assert len(notes) == (note is not None)
    assert all(one.startswith(note) for one in notes)


def test_features_of_two_channels_are_searched_and_not_pictured(
    make_room, make_views, make_model, make_scene
):
    scene = make_scene("room", held_out=(0, TARGET), channels=2)
    row, _ = make_room(make_views(make_model(2), scene)).add()
    assert titles(row) == ["photo", "render", "depth", "score: cup", "cup"]


def test_the_film_follows_the_largest_object_that_is_pointed_at(make_room, make_prompt):
    assert make_room().pages.label_for_film() == "cup"  # 128 pixels against 96
    assert make_room(prompts=[]).pages.label_for_film() is None
    # Where the whole object is not known the stroke has to do: here it is that of the jar.
    dots = np.zeros((24, 28), bool)
    dots[9:12, 18:22] = True
    strokes = [
        replace(make_prompt("cup"), reference=None),
        replace(make_prompt("jar"), positive=dots, reference=None),
    ]
    assert make_room(prompts=strokes).pages.label_for_film() == "jar"


def test_a_frame_of_the_film_shows_colour_features_and_mask(make_room, room, room_views):
    around = make_room()
    view = room_views.of(5)["model"]
    colour = enlarge_smoothly(to_picture(view.rgb), SCALE)
    features = source_colours(room)(view.feature)
    found = around.objects.segmenters[Search("model", "cup", 0)](view.feature, view.rgb).mask
    expected = film_frame(colour, features, draw_mask(colour, enlarge(found, SCALE)))
    np.testing.assert_array_equal(around.pages.film_frame(view, "cup"), expected)
    without_mask = film_frame(colour, features, None)
    np.testing.assert_array_equal(around.pages.film_frame(view, None), without_mask)
    np.testing.assert_array_equal(around.pages.film_frame(view, "shoe"), without_mask)


def test_a_frame_of_a_model_without_feature_head_is_colour_alone(
    make_room, make_views, make_model, room
):
    views = make_views(make_model(), room)
    view = views.of(5)["model"]
    frame = make_room(views).pages.film_frame(view, "cup")
    colour = enlarge_smoothly(to_picture(view.rgb), SCALE)
    np.testing.assert_array_equal(frame, film_frame(colour, None, None))


def test_scores_of_a_view_are_gathered_by_method_and_averaged_over_objects_and_draws():
    def row(label, draw, method, **scores):
        return MaskRow("room", label, "v", draw, method, scores)

    result = ViewResult(
        number=0,
        name="v",
        views=dict.fromkeys(("model", "colour_only", "teacher_on_photo")),
        found={},
        scores={"model": {"psnr_db": 20.0}},
        rows=[
            row("cup", 0, "model", iou=0.2, average_precision=0.5),
            row("cup", 1, "model", iou=0.4),
            row("jar", 0, "model", iou=0.9),
            row("cup", 0, "colour_only", iou=0.1),
        ],
        text_rows=[row("cup", 0, "model", iou=0.6), row("jar", 0, "model", iou=0.8)],
    )
    assert view_scores(result) == {
        "model": {
            "psnr_db": 20.0,
            "iou": pytest.approx(0.5),
            "average_precision": 0.5,
            "text_iou": pytest.approx(0.7),
        },
        "colour_only": {"iou": 0.1},
        "teacher_on_photo": {},
    }
