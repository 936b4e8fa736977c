"""Shapes as signed distance functions.

A shape stands on z = 0 in its own space, centred on the z axis. Its function gives at each point
a distance to the surface, negative inside, that is never larger than the true one: so a ray may
advance by it (sphere tracing, Hart 1996, doi:10.1007/s003710050084).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """A distance function with the room that it takes."""

    distance: Callable[[Tensor], Tensor]  # points (3, R) -> (R,)
    reach: tuple[float, float, float]  # largest |x| and |y| of the surface, and its height
    footprint: float  # radius of a circle about the z axis that holds it, seen from above
    stretch: tuple[float, float]  # range of heights, as factors, in which it keeps its name


def _corner(a: Tensor, b: Tensor, radius: float) -> Tensor:
    """Intersect two half-spaces, given by distances, and round the edge between them."""
    a, b = a + radius, b + radius
    outside = torch.hypot(a.clamp(min=0), b.clamp(min=0))
    return torch.maximum(a, b).clamp(max=0) + outside - radius


def _blend(a: Tensor, b: Tensor, width: float) -> Tensor:
    """Unite two bodies, with a smooth joint where their distances differ by less than `width`."""
    near = (1 - (a - b).abs() / width).clamp(min=0)
    return torch.minimum(a, b) - near * near * (width / 4)


def _carve(a: Tensor, b: Tensor, width: float) -> Tensor:
    """Take body `b` out of `a`, with a rounded rim."""
    return -_blend(-a, b, width)


def _cylinder(p: Tensor, radius: float, low: float, high: float, rounding: float) -> Tensor:
    side = torch.hypot(p[0], p[1]) - radius
    ends = (p[2] - (low + high) / 2).abs() - (high - low) / 2
    return _corner(side, ends, rounding)


def _ball(p: Tensor, radius: float, z: float) -> Tensor:
    return (p[0] ** 2 + p[1] ** 2 + (p[2] - z) ** 2).sqrt() - radius


def sphere(p: Tensor) -> Tensor:
    """Return the distance to a sphere."""
    return _ball(p, 0.8, 0.8)


def egg(p: Tensor) -> Tensor:
    """Return the distance to two spheres and the cone that touches both."""
    low, high, rise = 0.65, 0.38, 0.75
    side, up = torch.hypot(p[0], p[1]), p[2] - low
    lean = (low - high) / rise
    slope = math.sqrt(1 - lean**2)
    along = up * slope - side * lean
    cone = side * slope + up * lean - low
    cap = torch.hypot(side, up - rise) - high
    upper = torch.where(along > slope * rise, cap, cone)
    return torch.where(along < 0, torch.hypot(side, up) - low, upper)


def box(p: Tensor) -> Tensor:
    """Return the distance to a box with rounded edges."""
    rounding = 0.06
    half = p.new_tensor([0.75, 0.55, 0.55])[:, None] - rounding
    q = (p - p.new_tensor([0.0, 0.0, 0.55])[:, None]).abs() - half
    outside = (q.clamp(min=0) ** 2).sum(0).sqrt()
    return outside + q.amax(0).clamp(max=0) - rounding


def cylinder(p: Tensor) -> Tensor:
    """Return the distance to an upright cylinder."""
    return _cylinder(p, 0.6, 0.0, 1.4, 0.05)


def cone(p: Tensor) -> Tensor:
    """Return the distance to a cone with a blunt tip."""
    radius, height = 0.75, 1.75
    side = (p[0] ** 2 + p[1] ** 2 + 0.05**2).sqrt()
    slant = (side * height + p[2] * radius - radius * height) / math.hypot(radius, height)
    return _corner(slant, -p[2], 0.03)


def ring(p: Tensor) -> Tensor:
    """Return the distance to a torus that lies on the table."""
    return torch.hypot(torch.hypot(p[0], p[1]) - 0.68, p[2] - 0.3) - 0.3


def capsule(p: Tensor) -> Tensor:
    """Return the distance to a cylinder with round ends, lying along x."""
    beyond = (p[0].abs() - 0.55).clamp(min=0)
    return (beyond**2 + p[1] ** 2 + (p[2] - 0.4) ** 2).sqrt() - 0.4


def mug(p: Tensor) -> Tensor:
    """Return the distance to a hollow cylinder with a handle."""
    handle = torch.hypot(torch.hypot(p[0] - 0.58, p[2] - 0.65) - 0.34, p[1]) - 0.085
    cup = _blend(_cylinder(p, 0.6, 0.0, 1.3, 0.06), handle, 0.06)
    return _carve(cup, _cylinder(p, 0.51, 0.12, 1.9, 0.06), 0.04)


def bottle(p: Tensor) -> Tensor:
    """Return the distance to a body that narrows to a neck with a cap."""
    body = _cylinder(p, 0.5, 0.0, 1.15, 0.12)
    neck = _cylinder(p, 0.15, 0.5, 2.0, 0.03)
    cap = _cylinder(p, 0.2, 1.8, 2.1, 0.04)
    return torch.minimum(_blend(body, neck, 0.45), cap)


def bowl(p: Tensor) -> Tensor:
    """Return a bound of the distance to the lower part of a thick spherical shell on a foot."""
    shell = _corner((_ball(p, 0.95, 1.0)).abs() - 0.05, p[2] - 0.8, 0.03) * 0.85
    foot = _cylinder(p, 0.45, 0.0, 0.14, 0.03)
    return torch.maximum(_blend(shell, foot, 0.1), -p[2])


def vase(p: Tensor) -> Tensor:
    """Return a bound of the distance to a turned body with a waist and an open top."""
    radius = 0.42 + 0.2 * torch.sin(2.6 * p[2] - 0.35)
    side = (torch.hypot(p[0], p[1]) - radius) * 0.88
    body = _corner(side, (p[2] - 0.95).abs() - 0.95, 0.04) * 0.83
    return _carve(body, _cylinder(p, 0.17, 1.3, 2.4, 0.02), 0.05)


def pawn(p: Tensor) -> Tensor:
    """Return the distance to a chess pawn."""
    foot = _cylinder(p, 0.58, 0.0, 0.22, 0.08)
    side = torch.hypot(p[0], p[1])
    trunk = _corner((side + 0.25 * p[2] - 0.45) * 0.97, (p[2] - 0.6).abs() - 0.6, 0.03)
    collar = _cylinder(p, 0.32, 1.08, 1.2, 0.05)
    head = _ball(p, 0.36, 1.48)
    body = torch.minimum(_blend(_blend(foot, trunk, 0.25), head, 0.1), collar)
    return torch.maximum(body, -p[2])  # the joint would bulge into the table


SHAPES = {
    "sphere": Shape(sphere, (0.8, 0.8, 1.6), 0.8, (1.0, 1.0)),
    "egg": Shape(egg, (0.65, 0.65, 1.78), 0.65, (1.0, 1.0)),
    "box": Shape(box, (0.75, 0.55, 1.1), 0.93, (0.8, 1.7)),
    "cylinder": Shape(cylinder, (0.6, 0.6, 1.4), 0.6, (0.7, 1.3)),
    "cone": Shape(cone, (0.75, 0.75, 1.64), 0.75, (0.8, 1.1)),
    "ring": Shape(ring, (0.98, 0.98, 0.6), 0.98, (1.0, 1.0)),
    "capsule": Shape(capsule, (0.95, 0.4, 0.8), 0.95, (1.0, 1.0)),
    "mug": Shape(mug, (1.01, 0.62, 1.3), 1.01, (0.9, 1.1)),
    "bottle": Shape(bottle, (0.51, 0.51, 2.1), 0.51, (0.9, 1.15)),
    "bowl": Shape(bowl, (1.0, 1.0, 0.81), 1.0, (0.9, 1.1)),
    "vase": Shape(vase, (0.64, 0.64, 1.91), 0.64, (0.9, 1.1)),
    "pawn": Shape(pawn, (0.6, 0.6, 1.84), 0.6, (0.9, 1.1)),
}
