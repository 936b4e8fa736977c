import math

import numpy as np
import pytest
import torch

from gsn.captures.synthetic.body import Body
from gsn.captures.synthetic.scene import Material, Room, SceneObject, Texture
from gsn.captures.synthetic.tracer import GROUND, WALL, room_normal, trace

PAINT = Material(Texture("plain", (0.5, 0.5, 0.5), (0.1, 0.1, 0.1), 1.0, (0, 0, 1.0)), 0.0, 0.3)
CPU = torch.device("cpu")
CORNER = Room(PAINT, PAINT, wall_y=5.0, edge_y=5.0, fillet=0.0)
EDGE = Room(PAINT, PAINT, wall_y=6.0, edge_y=3.5, fillet=0.0)
SWEEP = Room(PAINT, PAINT, wall_y=5.0, edge_y=5.0, fillet=1.5)
EYE = np.array([0.4, -8.0, 3.0])

# Inside or outside, straight from what the words mean, in the shape's own space.
INSIDE = {
    "sphere": lambda x, y, z: x**2 + y**2 + (z - 0.8) ** 2 < 0.8**2,
    "cylinder": lambda x, y, z: (np.hypot(x, y) < 0.6) & (z > 0) & (z < 1.4),
    "box": lambda x, y, z: (abs(x) < 0.75) & (abs(y) < 0.55) & (z > 0) & (z < 1.1),
    "cone": lambda x, y, z: (np.hypot(x, y) < 0.75 * (1 - z / 1.75)) & (z > 0),
    "ring": lambda x, y, z: (np.hypot(x, y) - 0.68) ** 2 + (z - 0.3) ** 2 < 0.3**2,
    "capsule": lambda x, y, z: np.maximum(abs(x) - 0.55, 0) ** 2 + y**2 + (z - 0.4) ** 2 < 0.4**2,
}
# How far rounded edges may stay behind the sharp ones of the reference, in scene units.
ROUNDED = {"sphere": 0, "ring": 0, "capsule": 0, "cylinder": 0.06, "box": 0.08, "cone": 0.09}


def rays(n, seed, spread=0.13):
    rng = np.random.default_rng(seed)
    target = np.array([0.5, 0.5, 0.6]) + rng.uniform(-1, 1, (n, 3)) * spread * 10
    direction = target - EYE
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


def as_torch(direction):
    origin = torch.tensor(EYE, dtype=torch.float32)[:, None]
    return origin, torch.tensor(direction.T, dtype=torch.float32)


def first_inside(inside, direction, stop=16.0, step=0.002):
    """Reference: walk along each ray in small steps until a point is inside."""
    out = []
    t = np.arange(0, stop, step)
    for d in direction:
        x, y, z = (EYE[:, None] + d[:, None] * t).astype(float)
        met = inside(x, y, z)
        out.append(t[met.argmax()] if met.any() else np.inf)
    return np.array(out)


@pytest.mark.parametrize("name", INSIDE)
def test_rays_meet_objects_where_a_walk_in_small_steps_first_is_inside(name):
    yaw, size, stretch, place = 0.7, 1.2, 0.9, (0.5, 0.5)
    thing = SceneObject(name, "red", PAINT, place, yaw, size, stretch)

    def inside(x, y, z):
        x, y = x - place[0], y - place[1]
        along = (x * math.cos(yaw) + y * math.sin(yaw)) / size
        across = (y * math.cos(yaw) - x * math.sin(yaw)) / size
        return INSIDE[name](along, across, z / (size * stretch))

    direction = rays(300, seed=1)
    expected = first_inside(inside, direction)
    hits = trace([Body(thing, CPU)], EDGE, *as_torch(direction))
    got = np.where(hits.surface.numpy() == 1, hits.t.numpy(), np.inf)
    assert 40 < np.isfinite(expected).sum() < 260
    slack = 0.006 if name == "cone" else 0  # blunt all over, not at its edges only
    # A ray may slip past a rounded edge, or the walk may step over a sliver.
    differ = np.isfinite(got) != np.isfinite(expected)
    assert differ.mean() <= (0.01 if ROUNDED[name] == 0 else 0.04)
    both = np.isfinite(got) & np.isfinite(expected)
    late = got[both] - expected[both]
    assert (late > -0.0035).all()
    assert np.quantile(late, 0.7) < 0.002 + slack
    assert np.quantile(late, 0.97) < 0.02 + 4 * ROUNDED[name]


@pytest.mark.parametrize("room", [CORNER, EDGE, SWEEP], ids=["corner", "edge", "sweep"])
def test_rays_meet_the_room_where_a_walk_in_small_steps_first_is_inside(room):
    def solid(x, y, z):
        bend_y = room.wall_y - room.fillet
        behind = np.hypot(y - bend_y, z - room.fillet) > room.fillet
        bend = (y > bend_y) & (z < room.fillet) & behind & (room.fillet > 0)
        return ((z < 0) & (y < room.edge_y)) | (y > room.wall_y) | bend

    direction = rays(300, seed=2, spread=0.25)
    # The table top is thin here: one that ends before the wall has no underside to be met.
    expected = first_inside(solid, direction, step=0.004)
    hits = trace([], room, *as_torch(direction))
    np.testing.assert_allclose(hits.t.numpy(), expected, atol=0.0045)
    assert {GROUND, WALL} == set(hits.surface.tolist())


def test_normals_of_the_sweep_turn_steadily_from_up_to_forward():
    angle = torch.linspace(0.01, math.pi / 2 - 0.01, 20)
    bend = torch.stack([0 * angle, 3.5 + 1.5 * angle.sin(), 1.5 - 1.5 * angle.cos()])
    normal = room_normal(SWEEP, bend, torch.full((20,), GROUND))
    expected = torch.stack([0 * angle, -angle.sin(), angle.cos()])
    torch.testing.assert_close(normal, expected, atol=1e-5, rtol=0)


def test_the_nearer_of_two_objects_is_seen_in_whatever_order_they_are_listed():
    near = SceneObject("sphere", "red", PAINT, (0.4, -2.0), 0.0, 1.0, 1.0)
    far = SceneObject("sphere", "blue", PAINT, (0.4, 1.0), 0.0, 1.2, 1.0)
    to_both = np.array([0.4, -2.0, 0.9]) - EYE
    ray = as_torch((to_both / np.linalg.norm(to_both))[None])
    assert trace([Body(near, CPU), Body(far, CPU)], CORNER, *ray).surface.tolist() == [1]
    assert trace([Body(far, CPU), Body(near, CPU)], CORNER, *ray).surface.tolist() == [2]


def test_a_ray_through_the_hole_of_a_ring_meets_the_table():
    ring = SceneObject("ring", "red", PAINT, (0.0, 0.0), 0.0, 1.0, 1.0)
    down = torch.tensor([[0.0], [1e-3], [-1.0]])
    above = torch.tensor([[0.0], [0.0], [3.0]])
    hits = trace([Body(ring, CPU)], CORNER, above, down / down.norm())
    assert hits.surface.tolist() == [GROUND]
    assert hits.t.item() == pytest.approx(3.0, abs=1e-4)
