import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from gsn.captures.synthetic.cameras import draw_viewpoint
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.draw import draw_scene
from gsn.captures.synthetic.layout import draw_layout
from gsn.captures.synthetic.shapes import SHAPES

CONFIG = SyntheticConfig(
    seed=3,
    n_views=6,
    width_px=48,
    height_px=36,
    min_objects=4,
    max_objects=7,
    samples_per_side=1,
    baseline=0.03,
)


def test_a_scene_depends_on_seed_and_name_alone():
    scene = draw_scene("desk", CONFIG)
    draw_scene("shelf", CONFIG)
    assert draw_scene("desk", CONFIG).objects == scene.objects
    assert draw_scene("shelf", CONFIG).objects != scene.objects
    assert draw_scene("desk", replace(CONFIG, seed=4)).objects != scene.objects


def test_more_samples_or_pixels_do_not_change_the_scene():
    scene = draw_scene("desk", CONFIG)
    larger = replace(CONFIG, width_px=96, height_px=72, samples_per_side=2)
    again = draw_scene("desk", larger)
    assert (again.objects, again.room, again.light) == (scene.objects, scene.room, scene.light)
    np.testing.assert_array_equal(again.cameras.cam_to_world, scene.cameras.cam_to_world)


def test_objects_differ_in_shape_colour_and_pattern_and_do_not_touch():
    counts = set()
    for k in range(40):
        objects = draw_scene(f"scene {k}", CONFIG).objects
        counts.add(len(objects))
        assert len({o.shape for o in objects}) == len(objects)
        assert len({o.colour for o in objects}) == len(objects)
        assert len({o.material.texture.kind for o in objects}) == len(objects)
        for j, a in enumerate(objects):
            for b in objects[:j]:
                radii = SHAPES[a.shape].footprint * a.size + SHAPES[b.shape].footprint * b.size
                assert math.dist(a.position, b.position) > radii
    assert counts == {4, 5, 6, 7}


def test_captions_read_like_captions():
    words = [o.caption for k in range(20) for o in draw_scene(f"{k}", CONFIG).objects]
    assert all(2 <= len(caption.split()) <= 3 for caption in words)
    plain = [
        o for k in range(20) for o in draw_scene(f"{k}", CONFIG).objects if "plain" in o.caption
    ]
    assert not plain
    assert any(caption.endswith(" mug") for caption in words)


def test_a_crowd_gets_smaller_things_rather_than_an_error():
    crowd = draw_scene("crowd", replace(CONFIG, min_objects=12, max_objects=12)).objects
    few = draw_scene("crowd", replace(CONFIG, min_objects=2, max_objects=2)).objects
    assert len(crowd) == 12
    assert max(o.size for o in crowd) < min(o.size for o in few)


def test_things_that_never_fit_the_picture_are_refused_with_advice():
    rng = np.random.default_rng(0)
    giants = np.full(3, 200.0)
    with pytest.raises(ValueError, match=r"3 objects found no places .* ask for fewer"):
        draw_layout(rng, giants, giants, draw_viewpoint(rng), aspect=0.75)


def test_an_empty_range_of_counts_and_missing_or_wrong_values_are_refused():
    with pytest.raises(ValidationError, match="min_objects 8 is larger than max_objects 7"):
        replace(CONFIG, min_objects=8)
    with pytest.raises(ValidationError):
        replace(CONFIG, n_views=0)
    with pytest.raises(ValidationError, match="n_views"):
        SyntheticConfig(seed=0)
    with pytest.raises(ValidationError, match="max_objects"):
        replace(CONFIG, max_objects=256)
