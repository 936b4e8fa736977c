"""Solid textures: colour as a function of the place in an object's own space.

Each function takes the texture, points (3, R) and the noise, and returns how much of the second
colour shows, and a brightness around 1, both (R,). Edges are soft over a few percent of a repeat.
"""

import math

import torch
from torch import Tensor

from gsn.captures.synthetic.body import length
from gsn.captures.synthetic.noise import Noise
from gsn.captures.synthetic.room_textures import ROOM_TEXTURES, Pattern
from gsn.captures.synthetic.scene import Texture


def albedo(texture: Texture, p: Tensor, noise: Noise) -> Tensor:
    """Return the colour (3, R), linear RGB, at points (3, R) of the object's own space."""
    second, brightness = TEXTURES[texture.kind](texture, p, noise)
    main = p.new_tensor(texture.main)[:, None]
    other = p.new_tensor(texture.second)[:, None]
    return ((main + (other - main) * second.clamp(0, 1)) * brightness).clamp(0.0, 0.95)


def _along(texture: Texture, p: Tensor) -> Tensor:
    x, y, z = texture.axis
    return (p[0] * x + p[1] * y + p[2] * z) * texture.frequency


def _wave(phase: Tensor) -> Tensor:
    """Alternate between -1 and 1, once a unit."""
    return (torch.sin(phase * (2 * math.pi)) * 5).clamp(-1, 1)


def _wear(p: Tensor, noise: Noise) -> Tensor:
    return 1 + 0.1 * noise(p * 2.5)


def plain(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """One colour, a little uneven."""
    return torch.zeros_like(p[0]), 1 + 0.2 * noise.layered(p * 2.0, 2)


def striped(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Bands across the axis."""
    return 0.5 + 0.5 * _wave(_along(texture, p)), _wear(p, noise)


def wavy(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Bands that swing."""
    swing = 0.22 * torch.sin((p[0] - p[1]) * 6.5)
    return 0.5 + 0.5 * _wave(_along(texture, p) + swing), _wear(p, noise)


def checked(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Cubes of two colours."""
    # A face of a box must not fall on a face of the cubes: shifted by a part of a repeat.
    x, y, z = (_wave(c * (texture.frequency / 2) + 0.11) for c in p)
    return 0.5 + 0.5 * x * y * z, _wear(p, noise)


def dotted(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Balls on a body-centred lattice: every plane cuts some of them."""
    nearest = torch.full_like(p[0], torch.inf)
    for shift in (0.25, 0.75):
        q = p * texture.frequency + shift
        nearest = torch.minimum(nearest, ((q - q.floor() - 0.5) ** 2).sum(0))
    return (0.36 - nearest.sqrt()) * 14 + 0.5, _wear(p, noise)


def marbled(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Thin veins through a clouded stone."""
    cloud = noise.layered(p * texture.frequency, 3)
    vein = 1 - torch.sin(_along(texture, p) * 2.2 + cloud * 7).abs()
    return vein**2 + 0.25 * cloud, 1 + 0.15 * cloud


def wooden(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Year rings about the axis, with grain along it."""
    axis = p.new_tensor(texture.axis)[:, None]
    along = (p * axis).sum(0)
    across = p - axis * along
    radius = length(across + p.new_tensor([0.35, 0.25, 0.3])[:, None])
    ring = radius * texture.frequency * 2 + 0.7 * noise(p * 1.3)
    late = (ring - ring.floor()) ** 2
    return late * 0.9, 1 + 0.25 * noise(across * 14 + axis * along)


def speckled(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Small irregular spots, as on a quail's egg."""
    return (noise(p * texture.frequency * 3.5) - 0.22) * 8, _wear(p, noise)


def patched(texture: Texture, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Large irregular spots, as on a cow."""
    return noise.layered(p * texture.frequency, 2) * 14 + 0.5, _wear(p, noise)


OBJECT_TEXTURES: dict[str, Pattern] = {
    "plain": plain,
    "striped": striped,
    "wavy": wavy,
    "checked": checked,
    "dotted": dotted,
    "marbled": marbled,
    "wooden": wooden,
    "speckled": speckled,
    "patched": patched,
}
TEXTURES: dict[str, Pattern] = OBJECT_TEXTURES | ROOM_TEXTURES
