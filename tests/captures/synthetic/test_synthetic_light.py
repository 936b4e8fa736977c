import math

import numpy as np
import pytest
import torch

from gsn.captures.synthetic.body import Body
from gsn.captures.synthetic.occlusion import lamp_visibility, openness
from gsn.captures.synthetic.scene import Light, Material, Room, SceneObject, Texture
from gsn.captures.synthetic.shading import highlight

PAINT = Material(Texture("plain", (0.5, 0.5, 0.5), (0.1, 0.1, 0.1), 1.0, (0, 0, 1.0)), 0.0, 0.3)
ROOM = Room(PAINT, PAINT, wall_y=9.0, edge_y=4.0, fillet=0.0)
LAMP = Light((4.0, -2.0, 8.0), 1.0, (1.0, 1.0, 1.0), (0.3, 0.3, 0.3), (0.1, 0.1, 0.1))
BALL = Body(SceneObject("sphere", "red", PAINT, (0.0, 0.0), 0.0, 1.0, 1.0), torch.device("cpu"))


def table(points):
    p = torch.tensor([[x, y, 0.0] for x, y in points], dtype=torch.float32).T
    return p, torch.tensor([0.0, 0.0, 1.0])[:, None].expand_as(p)


def part_of_lamp_past_a_ball(point, n=60):
    """Reference: look at every point of the lamp's disc, and count those the ball leaves free."""
    lamp, ball, radius = np.array(LAMP.position), np.array([0, 0, 0.8]), 0.8
    axis = (lamp - point) / np.linalg.norm(lamp - point)
    side = np.cross(axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, axis)
    free, total = 0, 0
    for a in np.linspace(-1, 1, n):
        for b in np.linspace(-1, 1, n):
            if a**2 + b**2 > 1:
                continue
            ray = lamp + LAMP.radius * (a * side + b * up) - point
            ray /= np.linalg.norm(ray)
            along = (ball - point) @ ray
            miss = np.linalg.norm(ball - point - along * ray)
            free += miss > radius or along < 0
            total += 1
    return free / total


def test_a_ball_casts_the_shadow_that_its_lamp_gives():
    points = [(x, 0.35) for x in np.linspace(-2.6, 1.4, 21)]
    got = lamp_visibility([BALL], ROOM, LAMP, *table(points)).numpy()
    expected = np.array([part_of_lamp_past_a_ball(np.array([*p, 0.0])) for p in points])
    assert expected.min() == 0
    assert expected.max() == 1
    assert np.abs(got - expected).max() < 0.12
    assert np.abs(got - expected).mean() < 0.03


def test_below_the_table_the_wall_lies_in_its_shadow():
    high = Light((0.0, -4.0, 8.0), 1.0, LAMP.colour, LAMP.sky, LAMP.fill)
    # The line from the lamp over the edge y = 4, z = 0 meets the wall y = 9 at z = -5.
    p = torch.tensor([[0.0, 9.0, 2.0], [0.0, 9.0, -3.0], [0.0, 9.0, -5.0], [0.0, 9.0, -8.0]]).T
    normal = torch.tensor([0.0, -1.0, 0.0])[:, None].expand_as(p)
    got = lamp_visibility([], ROOM, high, p, normal)
    torch.testing.assert_close(got, torch.tensor([1.0, 1.0, 0.5, 0.0]))


def test_light_from_all_around_is_blocked_near_contacts_only():
    got = openness([BALL], ROOM, *table([(0.05, 0.0), (0.5, 0.0), (0.9, 0.0), (3.0, 0.0)]))
    assert (got.diff() > 0).all()
    assert got[0] < 0.3
    assert got[3] == 1


def test_the_inside_of_a_mug_is_darker_than_its_outside():
    mug = SceneObject("mug", "red", PAINT, (0.0, 0.0), 0.0, 1.0, 1.0)
    p = torch.tensor([[-0.6, 0.0, 0.8], [-0.51, 0.0, 0.8]]).T
    normal = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).T
    outside, inside = openness([Body(mug, torch.device("cpu"))], ROOM, p, normal)
    assert outside == pytest.approx(1, abs=1e-4)
    assert inside < 0.95


@pytest.mark.parametrize(("width", "roughness"), [(0.1, 0.02), (0.1, 0.1), (0.05, 0.3)])
def test_a_rough_surface_spreads_the_lamp_but_keeps_its_light(width, roughness):
    angle = torch.linspace(0, 1.2, 4000, dtype=torch.float64)
    mirrored = torch.stack([angle.sin(), 0 * angle, angle.cos()])
    lamp = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)[:, None]
    sizes = torch.full_like(angle, width), torch.full_like(angle, roughness)
    around = highlight(mirrored, lamp, *sizes) * 2 * math.pi * angle.sin()
    assert torch.trapezoid(around, angle).item() == pytest.approx(math.pi, rel=0.25)
