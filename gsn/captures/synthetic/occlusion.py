"""What stands in the way of light: soft shadows of one lamp, and darkening near contacts."""

import torch
from torch import Tensor

from gsn.captures.synthetic.body import Body, dot, length
from gsn.captures.synthetic.scene import Light, Room

SHADOW_STEPS = 22
REACHES = (0.08, 0.25, 0.7)  # how far from a surface others darken it, in scene units
WEIGHTS = (0.3, 0.35, 0.3)  # of each reach; their sum is the darkening of a closed crevice


def lamp_visibility(
    bodies: list[Body],
    room: Room,
    light: Light,
    p: Tensor,  # (3, R)
    normal: Tensor,  # (3, R)
) -> Tensor:  # (R,)
    """Return how much of the lamp each point sees, in [0, 1].

    An edge at distance t that the line to the lamp's centre misses by d leaves about the part
    1/2 + d / (2 w t) of a lamp of angular radius w; negative d is inside the body. The distance
    function gives d on the way (after Quilez, "soft shadows in raymarched SDFs").
    """
    to_lamp = p.new_tensor(light.position)[:, None] - p
    far = length(to_lamp)
    to_lamp = to_lamp / far
    width = light.radius / far
    seen = _past_the_edge(room, p, to_lamp, width)
    start = p + 0.01 * normal
    facing = dot(normal, to_lamp) > -0.02
    for body in bodies:
        away = body.centre - p
        along = dot(away, to_lamp)
        miss = (dot(away, away) - along**2).clamp(min=0).sqrt()
        reach = body.radius + width * along.clamp(min=0)
        at = (facing & (miss < reach) & (along > -body.radius)).nonzero()[:, 0]
        part = _march_shadow(
            body, start[:, at], to_lamp[:, at], width[at], along[at] - reach[at], reach[at]
        )
        seen[at] *= part
    return seen


def _march_shadow(
    body: Body,
    start: Tensor,  # (3, R)
    to_lamp: Tensor,  # (3, R)
    width: Tensor,  # (R,)
    enter: Tensor,  # (R,)
    reach: Tensor,  # (R,)
) -> Tensor:  # (R,)
    """Return the part of the lamp that one body leaves free."""
    t = enter.clamp(min=0.01)
    least = torch.ones_like(t)
    for _ in range(SHADOW_STEPS):
        gap = body.distance(start + t * to_lamp)
        least = torch.minimum(least, 0.5 + 0.5 * gap / (width * t))
        t = t + torch.maximum(gap.abs() * 0.8, reach * (2.2 / SHADOW_STEPS) * 0.5)
    least = least.clamp(min=0)
    return least**2 * (3 - 2 * least)


def _past_the_edge(room: Room, p: Tensor, to_lamp: Tensor, width: Tensor) -> Tensor:
    """Return how much of the lamp the table's far edge leaves to what lies below it."""
    if room.edge_y >= room.wall_y:
        return torch.ones_like(width)
    t = -p[2] / to_lamp[2].clamp(min=1e-3)
    beyond = p[1] + t * to_lamp[1] - room.edge_y
    part = (0.5 + 0.5 * beyond / (width * t.clamp(min=1e-3))).clamp(0, 1)
    return torch.where(p[2] < -1e-3, part, torch.ones_like(part))


def openness(
    bodies: list[Body],
    room: Room,
    p: Tensor,  # (3, R)
    normal: Tensor,  # (3, R)
) -> Tensor:  # (R,)
    """Return how little of the light from all around is blocked near each point, in (0, 1].

    Ambient occlusion from a few distances along the normal: in the open they grow like the way
    walked (after Evans, "Fast approximations for global illumination", SIGGRAPH 2006).
    """
    near = [
        (length(p - body.centre) < body.radius + 2 * REACHES[-1]).nonzero()[:, 0] for body in bodies
    ]
    closed = torch.zeros_like(p[0])
    for reach, weight in zip(REACHES, WEIGHTS, strict=True):
        probe = p + reach * normal
        gap = _room_distance(room, probe).clamp(max=reach)
        for body, at in zip(bodies, near, strict=True):
            gap[at] = torch.minimum(gap[at], body.distance(probe[:, at]))
        closed = closed + weight * (1 - gap / reach).clamp(0, 1)
    return 1 - closed


def _room_distance(room: Room, p: Tensor) -> Tensor:
    """Return the distance of points in front of the wall to wall or table top."""
    over_table = p[1] < room.edge_y
    to_ground = torch.where(over_table, p[2], torch.hypot(p[1] - room.edge_y, p[2]))
    if room.fillet > 0:
        to_ground = torch.full_like(to_ground, torch.inf)
    return torch.minimum(to_ground, room.wall_y - p[1]).clamp(min=0)
