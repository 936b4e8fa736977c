"""Where rays meet the scene: sphere tracing of the objects, closed forms for the room.

Points and directions are (3, R): one row per coordinate keeps every operation on flat memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gsn.captures.synthetic.body import Body
from gsn.captures.synthetic.scene import Room

GROUND, WALL = 0, -1  # surfaces that are no object; object k is surface k, counted from 1
TOLERANCE = 2e-4  # scene units between a ray's end and the surface
ROUNDS, STEPS = 5, 4  # rays that have arrived are set aside after each round of steps
SCAN_LEVELS, SCAN_POINTS = 3, 40  # for rays that graze: intervals, each divided again


@dataclass(frozen=True)
class Hits:
    """What each ray meets first."""

    t: Tensor  # (R,) distance from the origin, in scene units
    surface: Tensor  # (R,) int64


def trace(bodies: list[Body], room: Room, origin: Tensor, direction: Tensor) -> Hits:
    """Follow rays to what they meet first.

    Args:
        bodies: The objects; the first is surface 1.
        room: What lies behind them.
        origin: Start, (3, 1), above the table and in front of the wall.
        direction: Unit vectors, (3, R), towards the table or the wall.
    """
    t, surface = trace_room(room, origin, direction)
    for number, body in enumerate(bodies, start=1):
        enter, leave = body.interval(origin, direction)
        rays = ((leave > enter) & (enter < t)).nonzero()[:, 0]
        reached = march(body, origin, direction[:, rays], enter[rays], leave[rays])
        nearer = reached < t[rays]
        t[rays[nearer]] = reached[nearer]
        surface[rays[nearer]] = number
    return Hits(t, surface)


def march(
    body: Body,
    origin: Tensor,  # (3, 1)
    direction: Tensor,  # (3, R)
    enter: Tensor,  # (R,)
    leave: Tensor,  # (R,)
) -> Tensor:  # (R,)
    """Advance along each ray by the distance to the body; infinity for rays that miss it."""
    t = enter.clone()
    reached = torch.full_like(t, torch.inf)
    rays = torch.arange(len(t), device=t.device)
    for _ in range(ROUNDS):
        for _ in range(STEPS):
            gap = body.distance(origin + t * direction)
            t = t + gap
        arrived = gap.abs() < TOLERANCE
        reached[rays[arrived]] = t[arrived]
        going = ~arrived & (t < leave)
        if not bool(going.any()):
            return reached
        rays, t, leave, direction = rays[going], t[going], leave[going], direction[:, going]
    reached[rays] = _scan(body, origin, direction, t, leave)
    return reached


def _scan(body: Body, origin: Tensor, direction: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Find where rays first enter the body by looking everywhere between `start` and `stop` (R,).

    Steps by the distance shrink where a ray grazes a surface; many points at once are cheaper.
    """
    fractions = torch.linspace(0, 1, SCAN_POINTS, device=start.device)[:, None]
    met = torch.zeros_like(start, dtype=torch.bool)
    for _ in range(SCAN_LEVELS):
        t = start + fractions * (stop - start)  # (N, R)
        points = origin[:, :, None] + t * direction[:, None]
        inside = body.distance(points.flatten(1)).reshape(t.shape) < 0
        met |= inside.any(dim=0)
        first = inside.to(torch.int8).argmax(dim=0)[None]  # the first of equals
        start, stop = t.gather(0, (first - 1).clamp(min=0))[0], t.gather(0, first)[0]
    return torch.where(met, stop, torch.inf)


def trace_room(
    room: Room,
    origin: Tensor,  # (3, 1)
    direction: Tensor,  # (3, R)
) -> tuple[Tensor, Tensor]:  # (R,), (R,) int64
    """Return distance and surface of table top or wall along each ray."""
    down = direction[2].clamp(max=-1e-6)
    to_ground = (-origin[2] / down).where(direction[2] < 0, torch.inf)
    to_wall = (room.wall_y - origin[1]) / direction[1].clamp(min=1e-6)
    y_on_ground = origin[1] + to_ground * direction[1]
    on_ground = (direction[2] < 0) & (y_on_ground < room.edge_y)
    t = torch.where(on_ground, to_ground, to_wall)
    if room.fillet > 0:
        t = torch.where(
            _in_bend(room, origin + t * direction), _to_bend(room, origin, direction), t
        )
        on_ground = (origin[2] + t * direction[2]) < room.fillet
    return t, torch.where(on_ground, GROUND, WALL)


def _in_bend(room: Room, p: Tensor) -> Tensor:
    """Tell which points (3, R) of table top or wall the bend replaces."""
    return (p[1] > room.wall_y - room.fillet) & (p[2] < room.fillet)


def _to_bend(room: Room, origin: Tensor, direction: Tensor) -> Tensor:
    """Return the distance to the quarter cylinder, seen from its hollow side: the far root."""
    y, z = origin[1] - (room.wall_y - room.fillet), origin[2] - room.fillet
    a = direction[1] ** 2 + direction[2] ** 2
    half_b = y * direction[1] + z * direction[2]
    c = y**2 + z**2 - room.fillet**2
    return (-half_b + (half_b**2 - a * c).clamp(min=0).sqrt()) / a


def room_normal(room: Room, p: Tensor, surface: Tensor) -> Tensor:
    """Return unit normals (3, R) of table top, wall and the bend between them."""
    wall = surface == WALL
    normal = torch.stack([torch.zeros_like(p[0]), -wall.to(p.dtype), (~wall).to(p.dtype)])
    if room.fillet > 0:
        bend = torch.stack(
            [
                torch.zeros_like(p[0]),
                (room.wall_y - room.fillet - p[1]) / room.fillet,
                (room.fillet - p[2]) / room.fillet,
            ]
        )
        normal = torch.where(_in_bend(room, p), bend, normal)
    return normal
