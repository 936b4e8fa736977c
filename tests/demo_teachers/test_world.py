import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from demo_teachers.held_out import HELD_OUT
from demo_teachers.world import draw_world
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.draw import draw_scene
from gsn.captures.synthetic.palette import NAMED
from gsn.captures.synthetic.shapes import SHAPES

ROOT = Path(__file__).resolve().parents[2]


def world_of(seed, n_views=4, named_colours=True):
    return draw_world(np.random.default_rng(seed), n_views, named_colours=named_colours)


@pytest.fixture(scope="module")
def worlds():
    """As the trainings draw them: seeds 7 and 11, the first processes."""
    return [
        world_of([seed, process, number], named_colours=seed == 11)
        for seed in (7, 11)
        for process in (0, 1)
        for number in range(50)
    ]


@pytest.fixture(scope="module")
def default_scenes():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    config = SyntheticConfig(**params["fetch"]["synthetic"])
    names = params["scenes"]["train"] + params["scenes"]["test"]
    assert len(names) == 8
    return [draw_scene(name, config) for name in names]


def pitches(scene):  # degrees below the horizon
    return np.degrees(np.arcsin(-scene.cameras.cam_to_world[:, 2, 2]))


def srgb(colour):  # IEC 61966-2-1, the way forth
    return [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in colour]


def test_a_world_depends_on_the_state_of_its_generator_alone():
    first = world_of(5)
    np.random.seed(1)
    torch.manual_seed(1)
    again, other = world_of(5), world_of(6)
    assert replace(again, cameras=None) == replace(first, cameras=None)
    np.testing.assert_array_equal(again.cameras.cam_to_world, first.cameras.cam_to_world)
    assert other.objects != first.objects
    assert other.light != first.light


def test_more_cameras_do_not_change_what_they_look_at():
    few, many = world_of(5, n_views=2), world_of(5, n_views=9)
    assert (few.objects, few.room, few.light) == (many.objects, many.room, many.light)
    assert len(many.cameras.cam_to_world) == 9


def test_things_stand_apart(worlds):
    for world in worlds:
        for k, a in enumerate(world.objects):
            for b in world.objects[:k]:
                radii = SHAPES[a.shape].footprint * a.size + SHAPES[b.shape].footprint * b.size
                assert math.dist(a.position, b.position) > radii + 0.05


def spread(thing):  # largest relative difference from the colour of that name
    main = srgb(thing.material.texture.main)
    return max(abs(c / n - 1) for c, n in zip(main, NAMED[thing.colour], strict=True))


def test_named_colours_are_within_eight_percent_of_their_names(worlds):
    named = [spread(thing) for world in worlds[100:] for thing in world.objects]
    assert 0.07 < max(named) <= 0.08 + 1e-9
    free = [spread(thing) for world in worlds[:100] for thing in world.objects]
    assert 0.35 < np.mean([s > 0.08 for s in free]) < 0.65  # half of them are any colour


def test_the_second_colour_is_pale_and_of_the_other_brightness(worlds):
    for world in worlds:
        for thing in world.objects:
            texture = thing.material.texture
            second = srgb(texture.second)
            assert min(second) >= 0.7 * max(second) - 1e-9  # saturation at most 0.3
            brightness = np.dot([0.2126, 0.7152, 0.0722], texture.main)
            dark, bright = max(second) <= 0.3 + 1e-9, max(second) >= 0.7 - 1e-9
            assert dark if brightness > 0.25 else bright


def test_cameras_see_the_middles_of_things(worlds):
    seen, cameras_that_see = [], []
    for world in worlds:
        for pose in world.cameras.cam_to_world:
            np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-9)
            assert pose[2, 3] > 0  # above the table
            inside = []
            for thing in world.objects:
                height = thing.size * thing.stretch * SHAPES[thing.shape].reach[2] / 2
                x, y, z = pose[:3, :3].T @ (np.array([*thing.position, height]) - pose[:3, 3])
                column, row = world.cameras.focal * x / z, world.cameras.focal * y / z
                inside.append(z > 0 and abs(column) < 0.5 and abs(row) < 0.5 * 192 / 256)
            seen += inside
            cameras_that_see.append(any(inside))
    assert np.mean(seen) > 0.75
    assert np.mean(cameras_that_see) > 0.97


def test_worlds_vary_more_than_captures(worlds):
    captures = [draw_scene(f"capture {k}", replace(HELD_OUT, n_views=4)) for k in range(100)]
    assert {len(world.objects) for world in worlds} >= set(range(1, 10))
    assert {len(capture.objects) for capture in captures} == {4, 5, 6, 7}
    for measure in (
        pitches,
        lambda scene: [thing.size for thing in scene.objects],
        lambda scene: [scene.cameras.focal],
        lambda scene: scene.light.colour,
        lambda scene: [scene.exposure],
    ):
        ours = np.concatenate([measure(world) for world in worlds])
        theirs = np.concatenate([measure(capture) for capture in captures])
        assert ours.min() < theirs.min()
        assert ours.max() > theirs.max()
    flat, steep = np.percentile(np.concatenate([pitches(world) for world in worlds]), (5, 95))
    assert flat < 12
    assert steep > 50


def test_no_world_and_no_held_out_scene_shares_anything_with_a_default_one(worlds, default_scenes):
    held_out = [draw_scene(f"{s}_{k}", HELD_OUT) for s in ("test", "validation") for k in range(24)]
    known = {thing.position for scene in default_scenes for thing in scene.objects}
    lights = {scene.light for scene in default_scenes}
    assert len(known) == sum(len(scene.objects) for scene in default_scenes)
    for scene in worlds + held_out:
        assert known.isdisjoint(thing.position for thing in scene.objects)
        assert scene.light not in lights
    trained = {thing.position for world in worlds for thing in world.objects}
    assert trained.isdisjoint(thing.position for scene in held_out for thing in scene.objects)
