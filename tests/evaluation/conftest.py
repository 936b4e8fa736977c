"""Shared: a room with a cup and a jar that the teacher tells apart, settings, packs, prompts."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import yaml

from gsn.captures.capture import Capture, Masks
from gsn.captures.pack import write_pack
from gsn.evaluation.config import EvaluateConfig, OrbitConfig, PerSplit
from gsn.evaluation.metrics.consistency import ConsistencyConfig
from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.prompts.scene_prompts import StrokeConfig
from gsn.evaluation.segmentation.guided_filter import GuidedConfig
from gsn.evaluation.segmentation.region_growing import GrowConfig
from gsn.evaluation.segmentation.relevancy import TextConfig
from gsn.evaluation.segmentation.segmenter import SegmentationConfig
from gsn.evaluation.views.render_cache import RenderCache
from gsn.evaluation.views.rendering import RenderConfig, SceneRenderer
from gsn.evaluation.views.scene_views import SceneViews
from gsn.features.basis import Basis
from gsn.features.prompts import Prompts, TextQuery
from gsn.geometry.cell_grid import CellGrid
from gsn.model.sources import TeacherMaps

CPU = torch.device("cpu")
HELD_OUT = (0, 3)  # of 6 views, so that 1, 2, 4 and 5 are sources
LABELS = ("cup", "jar")
# The place of a text is the direction of what it names in the teacher's maps of the room.
TEXTS = ("things", "a cup", "the jar", "a shoe")


def mask_of_room():
    """The cup is 16 x 8 pixels, the jar 12 x 8; both are whole teacher cells of 4 x 4 pixels."""
    mask = np.zeros((24, 28), np.uint8)
    mask[4:20, 4:12] = 1
    mask[8:20, 16:24] = 2
    return mask


@pytest.fixture
def room_mask():
    return mask_of_room()


@pytest.fixture(scope="session")
def room(make_scene):
    """Every view shows the same two objects at the same place; photographs are noise."""
    plain = make_scene("room", held_out=HELD_OUT)
    cells = torch.from_numpy(mask_of_room()[::4, ::4].astype(np.int64))
    maps = torch.eye(4)[cells].permute(2, 0, 1).expand(6, -1, -1, -1).clone()
    return replace(plain, teacher=TeacherMaps(maps.half(), CellGrid.of_patches((4, 4))))


@pytest.fixture(scope="session")
def config():
    return EvaluateConfig(
        source_views=3,
        pixel_stride=2,
        max_views_per_scene=PerSplit(unseen=0, seen=1),
        lpips=False,
        boundary_tolerance=0.04,
        strokes=StrokeConfig(seeds=(0,), width_px=2),
        segmentation=SegmentationConfig(
            n_clusters=2,
            seed=0,
            distance="cosine",
            threshold="best_iou",
            refine="none",
            grow=GrowConfig(feature_sigma=0.5, distance_sigma=5.0, colour_sigma=0.1, rounds=5),
            guided=GuidedConfig(radius_px=2, epsilon=0.001),
        ),
        text=TextConfig(neutral=("things",), competing=True, temperature=10.0, threshold=0.5),
        consistency=ConsistencyConfig(max_points=50, depth_tolerance=0.5, pck_tolerance=0.1),
        orbit=OrbitConfig(frames=PerSplit(unseen=2, seen=0), pixel_stride=4, frames_per_second=8.0),
    )


@pytest.fixture(scope="session")
def make_renderer(config):
    def build(model, scene):
        return SceneRenderer(model, scene, RenderConfig(config.source_views, 2, 1000))

    return build


@pytest.fixture(scope="session")
def make_views(make_renderer, tmp_path_factory):
    """Return what makes the views of a scene by all methods, with an empty cache."""

    def build(model, scene):
        cache = RenderCache(tmp_path_factory.mktemp("renders"), "model", CPU)
        return SceneViews(make_renderer(model, scene), cache)

    return build


@pytest.fixture(scope="session")
def room_views(make_model, make_views, room):
    """Views of the room, rendered once for all tests."""
    return make_views(make_model(4), room)


@pytest.fixture(scope="session")
def make_prompt():
    """Return what makes a prompt for an object of the room: its middle, with the whole of it."""

    def build(label="cup", draw=0, view="room_1", **changes):
        whole = mask_of_room() == LABELS.index(label) + 1
        rows, columns = np.nonzero(whole)
        stroke = np.zeros_like(whole)
        middle = slice(columns.min() + 2, columns.max() - 1)
        stroke[(rows.min() + rows.max()) // 2 - draw, middle] = True
        return PixelPrompt(
            label, draw, view, **({"positive": stroke, "reference": whole} | changes)
        )

    return build


@pytest.fixture(scope="session")
def make_query():
    """Return what embeds texts in the space of the room's teacher."""

    def build(texts=TEXTS, vectors=None):
        basis = Basis(np.zeros(4), np.eye(4), np.ones(4), np.full(4, 0.25), 9, {})
        vectors = np.eye(4)[: len(texts)] if vectors is None else np.asarray(vectors)
        return TextQuery(basis, Prompts(tuple(texts), vectors.astype(np.float32), {}), 1.0)

    return build


@pytest.fixture(scope="session")
def write_room():
    """Return what writes the pack of a scene with the masks of some of its views."""

    def write(path, scene, masks, labels=LABELS):
        n_views = len(scene.view_names)
        values = np.zeros((n_views, scene.cameras.height, scene.cameras.width), np.uint8)
        present = np.zeros(n_views, bool)
        for view, mask in masks.items():
            values[view], present[view] = mask, True
        capture = Capture(
            name=scene.name,
            view_names=scene.view_names,
            image_sha256=tuple(f"{scene.name} {name}" for name in scene.view_names),
            images=scene.images.permute(0, 2, 3, 1).numpy(),
            intrinsics=scene.cameras.intrinsics.double().numpy(),
            cam_to_world=scene.cameras.cam_to_world.double().numpy(),
            near=float(scene.near),
            far=float(scene.far),
            masks=Masks(labels, values, present) if masks else None,
        )
        write_pack(path, capture, scene.held_out.numpy())

    return write


@pytest.fixture(scope="session")
def write_prompt_file():
    """Return what writes a prompt file, with a picture of its reference if there is one."""

    def write(folder, name, thing, view="room_1", reference=None, **entries):
        folder.mkdir(parents=True, exist_ok=True)
        content = {"version": 1, "object": thing} | entries
        if "text" not in entries:
            content |= {"view": view, "image_size_px": [28, 24]}
        if reference is not None:
            content["reference"] = f"{name}.png"
            cv2.imwrite(str(folder / f"{name}.png"), np.where(reference, 255, 0).astype(np.uint8))
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    return write
