import math

import pytest
import torch

from gsn.captures.synthetic.body import Body
from gsn.captures.synthetic.scene import Material, SceneObject, Texture
from gsn.captures.synthetic.shapes import SHAPES

PAINT = Material(Texture("plain", (0.5, 0.5, 0.5), (0.1, 0.1, 0.1), 1.0, (0, 0, 1.0)), 0.0, 0.3)


def random_points(n, seed=0, half=1.6):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(3, n, generator=generator, dtype=torch.float64) * 2 - 1) * half


def at(shape, *point):
    return SHAPES[shape].distance(torch.tensor(point, dtype=torch.float64)[:, None]).item()


@pytest.mark.parametrize("name", SHAPES)
def test_no_shape_promises_more_room_than_there_is(name):
    p = random_points(20_000)
    q = p + random_points(20_000, seed=1) * 0.2
    change = (SHAPES[name].distance(p) - SHAPES[name].distance(q)).abs()
    assert (change <= (p - q).norm(dim=0) * 1.001 + 1e-9).all()


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_stands_on_the_table_and_just_fits_its_stated_size(name):
    shape = SHAPES[name]
    axis = torch.linspace(-1.3, 1.3, 105, dtype=torch.float64)
    up = torch.linspace(-0.3, 2.3, 131, dtype=torch.float64)
    p = torch.stack(torch.meshgrid(axis, axis, up, indexing="ij")).flatten(1)
    inside = p[:, shape.distance(p) < 0]
    step = 0.025
    x, y, height = shape.reach
    assert -1e-6 <= inside[2].min() < step
    for extent, stated in ((inside[0], x), (inside[1], y), (inside[2], height)):
        assert stated - 2.5 * step < extent.max() <= stated + 1e-6
    assert torch.hypot(inside[0], inside[1]).max() <= shape.footprint + 1e-6


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [
        ("sphere", (2.0, 0.0, 0.8), 1.2),
        ("sphere", (0.0, 0.0, 0.8), -0.8),
        ("box", (1.75, 0.0, 0.55), 1.0),  # straight before a face
        ("box", (0.0, 0.0, 0.55), -0.55),
        ("cylinder", (0.0, 2.6, 0.7), 2.0),
        ("cylinder", (0.1, 0.1, 2.4), 1.0),
        ("ring", (0.68, 0.0, 1.3), 0.7),  # above the tube
        ("ring", (0.0, 0.0, 0.3), 0.38),  # in the hole
        ("capsule", (1.95, 0.0, 0.4), 1.0),
        ("capsule", (0.3, 0.0, 1.4), 0.6),
        ("egg", (0.0, 0.0, 2.78), 1.0),
        ("egg", (0.0, 0.0, -1.0), 1.0),
    ],
)
def test_distances_are_those_worked_out_by_hand(name, point, expected):
    assert at(name, *point) == pytest.approx(expected, abs=1e-6)


def test_the_edge_of_a_box_is_round():
    # Along the diagonal of the corner x = 0.75, y = 0.55 the surface lies r (√2 - 1) further in.
    inward = 0.06 * (math.sqrt(2) - 1) / math.sqrt(2)
    assert at("box", 0.75 - inward, 0.55 - inward, 0.55) == pytest.approx(0, abs=1e-6)
    assert at("box", 0.75, 0.55, 0.55) > 0.02


def test_mug_and_bowl_are_hollow_and_the_vase_is_open():
    assert at("mug", 0.0, 0.0, 0.7) > 0.3
    assert at("mug", 0.555, 0.0, 0.1) < 0
    assert at("mug", 0.58 + 0.34, 0.0, 0.65) < 0, "the handle"
    assert at("mug", 0.58 + 0.15, 0.0, 0.65) > 0, "room for a finger"
    assert at("bowl", 0.0, 0.0, 0.6) > 0.2
    assert at("vase", 0.0, 0.0, 1.7) > 0
    assert at("vase", 0.0, 0.0, 1.0) < 0


def test_a_body_is_its_shape_turned_enlarged_stretched_and_moved():
    body = Body(
        SceneObject("box", "red", PAINT, (2.0, -1.0), yaw=math.pi / 2, size=2.0, stretch=1.5),
        torch.device("cpu"),
    )
    # Half sizes 0.75, 0.55 swap by the quarter turn; the height is 1.1 · 2 · 1.5.
    surface = torch.tensor([[2 + 1.1, -1, 1.0], [2, -1 + 1.5, 1.0], [2, -1, 3.3], [2, -1, 0]]).T
    torch.testing.assert_close(body.distance(surface), torch.zeros(4), atol=1e-5, rtol=0)
    outward = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, -1.0]]).T
    torch.testing.assert_close(body.normal(surface), outward, atol=2e-3, rtol=0)
    assert body.distance(surface + 0.5 * outward).min() > 0.3


def test_normals_of_a_stretched_sphere_are_those_of_the_ellipsoid():
    thing = SceneObject("sphere", "red", PAINT, (0.0, 0.0), yaw=0.4, size=1.0, stretch=0.6)
    body = Body(thing, torch.device("cpu"))
    unit = torch.nn.functional.normalize(random_points(50, seed=3).float(), dim=0)
    axes = torch.tensor([0.8, 0.8, 0.48])[:, None]
    surface = unit * axes + torch.tensor([0, 0, 0.48])[:, None]
    expected = torch.nn.functional.normalize(unit / axes, dim=0)
    torch.testing.assert_close(body.normal(surface), expected, atol=4e-3, rtol=0)
