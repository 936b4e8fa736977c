"""Textures of table tops and walls; the first two coordinates lie in the surface.

Same contract as in `textures`: how much of the second colour shows, and the brightness.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gsn.captures.synthetic.noise import Noise
from gsn.captures.synthetic.scene import Texture

Pattern = Callable[[Texture, Tensor, Noise], tuple[Tensor, Tensor]]


def _gap(phase: Tensor, width: float) -> Tensor:
    """Return 1 near whole numbers, 0 elsewhere, with soft edges: a joint once a unit."""
    away = (phase - phase.round()).abs()
    return (1.5 - away / width).clamp(0, 1)


def _turned(texture: Texture, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return coordinates along and across the texture's axis, in repeats."""
    x, y, _ = texture.axis
    return (p[0] * x + p[1] * y) * texture.frequency, (p[1] * x - p[0] * y) * texture.frequency


def planks(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Boards with grain, joints and a tint of their own."""
    along, across = _turned(texture, p)
    row = across.floor()
    shifted = along / 5 + 0.37 * row
    tint = noise.of_cell(row, shifted.floor())
    grain_at = torch.stack([along * 0.45 + 9 * tint, across * 5.0, 3 * tint])
    grain = noise.layered(grain_at, 3)
    rings = torch.sin((across * 2.2 + 1.6 * noise(grain_at * 0.35)) * 2 * math.pi)
    joint = torch.maximum(_gap(across, 0.02), _gap(shifted, 0.005))
    light = (1 + 0.22 * tint + 0.35 * grain) * (1 - 0.6 * joint)
    return 0.4 + 0.3 * rings + 0.5 * grain, light


def tiles(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Square tiles of slightly different tint with joints of the second colour."""
    along, across = _turned(texture, p)
    joint = torch.maximum(_gap(along, 0.03), _gap(across, 0.03))
    tint = noise.of_cell(along.floor(), across.floor())
    cloud = noise.layered(p * 1.7, 3)
    return joint + 0.3 * tint.clamp(min=0), (1 + 0.12 * tint + 0.25 * cloud)


def gingham(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Woven checks: bands both ways, darker where they cross, with thread."""
    along, across = _turned(texture, p)
    bands = [(torch.sin(c * 2 * math.pi) * 6).clamp(-1, 1) * 0.25 + 0.25 for c in (along, across)]
    thread = noise(torch.stack([p[0] * 9, p[1] * 9, p[2]]))
    fold = noise(p * 0.5)
    return bands[0] + bands[1], 1 + 0.12 * thread + 0.1 * fold


def stone(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Grain of many sizes: granite, concrete, cork."""
    coarse = noise.layered(p * texture.frequency, 4)
    fine = noise(p * texture.frequency * 7)
    return 0.45 + 0.9 * coarse + 0.35 * fine, 1 + 0.15 * coarse


def slab(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Polished stone with long veins."""
    along, _ = _turned(texture, p)
    cloud = noise.layered(p * 0.8, 4)
    vein = 1 - torch.sin(along * 1.6 + cloud * 6).abs()
    return vein**4 * 0.9 + 0.3 * cloud, 1 + 0.2 * cloud


def paper(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Card or plaster: nearly even, blotchy when looked at closely."""
    blotch = noise.layered(p * texture.frequency, 4)
    return 0.5 + 0.9 * blotch, 1 + 0.05 * noise(p * 5)


def bricks(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Courses of bricks with mortar of the second colour."""
    row = (p[1] * texture.frequency * 2).floor()
    along = p[0] * texture.frequency + 0.5 * (row % 2)
    joint = torch.maximum(_gap(along, 0.035), _gap(p[1] * texture.frequency * 2, 0.07))
    tint = noise.of_cell(along.floor(), row)
    rough = noise.layered(p * 3.5, 2)
    return joint, (1 + 0.3 * tint * (1 - joint) + 0.3 * rough)


def wallpaper(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Broad stripes with a lozenge motif in staggered rows."""
    u, v = p[0] * texture.frequency, p[1] * texture.frequency
    stripe = (torch.sin(u * 2 * math.pi) * 6).clamp(-1, 1) * 0.14 + 0.14
    column = (u * 2).floor()
    du, dv = u * 2 - column - 0.5, v * 1.2 + 0.5 * (column % 2)
    motif = ((0.3 - du.abs() - 0.8 * (dv - dv.round()).abs()) * 16).clamp(0, 1)
    return stripe + 0.7 * motif, 1 + 0.12 * noise.layered(p * 0.8, 3)


ROOM_TEXTURES: dict[str, Pattern] = {
    "planks": planks,
    "tiles": tiles,
    "gingham": gingham,
    "stone": stone,
    "slab": slab,
    "paper": paper,
    "bricks": bricks,
    "wallpaper": wallpaper,
}
