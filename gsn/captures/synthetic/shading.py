"""Light on the points that rays meet: soft shadow, ambient light with contact darkening, gloss."""

import torch
from torch import Tensor

from gsn.captures.synthetic.body import Body, dot, length
from gsn.captures.synthetic.noise import Noise
from gsn.captures.synthetic.occlusion import lamp_visibility, openness
from gsn.captures.synthetic.scene import Material, Scene
from gsn.captures.synthetic.textures import albedo
from gsn.captures.synthetic.tracer import GROUND, WALL, Hits, room_normal

FILL_FROM = (0.28, -0.75, 0.6)  # where light without shadow comes from: behind the cameras


class Shader:
    """Everything about a scene that its pictures share, on one device."""

    def __init__(self, scene: Scene, device: torch.device) -> None:
        self.scene = scene
        self.bodies = [Body(thing, device) for thing in scene.objects]
        self.noise = Noise(scene.noise_seed, device)
        self.device = device

    def radiance(self, origin: Tensor, direction: Tensor, hits: Hits) -> Tensor:
        """Return the light (3, R), linear RGB, that comes back along rays (3, R) from `origin`."""
        p = origin + hits.t * direction
        normal, colour, coat, roughness = self._surfaces(p, hits.surface)
        light = self.scene.light
        to_lamp = self._column(light.position) - p
        distance = length(to_lamp)
        to_lamp = to_lamp / distance
        seen = lamp_visibility(self.bodies, self.scene.room, light, p, normal)
        falloff = (length(self._column(light.position)) / distance) ** 2
        lamp = self._column(light.colour) * (seen * falloff)
        open_part = openness(self.bodies, self.scene.room, p, normal)
        facing = dot(normal, to_lamp).clamp(min=0)
        irradiance = lamp * facing + self._ambient(normal) * open_part
        mirrored = direction - 2 * dot(normal, direction) * normal
        glancing = (1 + dot(normal, direction)).clamp(0, 1)
        fresnel = coat + (coat * 12).clamp(max=0.5) * glancing**5
        width = light.radius / distance
        gloss = self._room_light(mirrored) * open_part
        gloss = gloss + lamp * highlight(mirrored, to_lamp, width, roughness)
        return colour * irradiance + gloss * fresnel

    def _surfaces(self, p: Tensor, surface: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return normal (3, R), albedo (3, R), coat (R,) and roughness (R,) at points (3, R)."""
        room = self.scene.room
        normal = room_normal(room, p, surface)
        colour = torch.zeros_like(p)
        coat, roughness = torch.zeros_like(p[0]), torch.ones_like(p[0])

        def paint(at: Tensor, local: Tensor, material: Material) -> None:
            colour[:, at] = albedo(material.texture, local, self.noise)
            coat[at], roughness[at] = material.coat, material.roughness

        at = (surface == GROUND).nonzero()[:, 0]
        paint(at, p[:, at], room.ground)
        at = (surface == WALL).nonzero()[:, 0]
        # A sweep is one sheet of paper: its pattern must not jump where the bend ends.
        paint(at, p[:, at] if room.fillet > 0 else p[:, at][[0, 2, 1]], room.wall)
        for number, (thing, body) in enumerate(
            zip(self.scene.objects, self.bodies, strict=True), start=1
        ):
            at = (surface == number).nonzero()[:, 0]
            paint(at, body.local(p[:, at]), thing.material)
            normal[:, at] = body.normal(p[:, at])
        return normal, colour, coat, roughness

    def _ambient(self, normal: Tensor) -> Tensor:
        """Return irradiance (3, R) from sky, table and the cameras' side, nothing in the way."""
        light = self.scene.light
        up = 0.5 + 0.5 * normal[2]
        ground = torch.tensor(self.scene.room.ground.texture.main, device=self.device)[:, None]
        bounce = 0.5 * ground * (self._column(light.colour) + self._column(light.sky))
        front = dot(normal, self._column(FILL_FROM)).clamp(min=0)
        return self._column(light.sky) * up + bounce * (1 - up) + self._column(light.fill) * front

    def _room_light(self, direction: Tensor) -> Tensor:
        """Return what a mirror shows (3, R) of a room that is bright above and dim below."""
        height = (0.5 + 0.9 * direction[2]).clamp(0, 1)
        return self._column(self.scene.light.sky) * (0.25 + 1.5 * height**2)

    def _column(self, vector: tuple[float, float, float]) -> Tensor:
        return torch.tensor(vector, dtype=torch.float32, device=self.device)[:, None]


def highlight(mirrored: Tensor, to_lamp: Tensor, width: Tensor, roughness: Tensor) -> Tensor:
    """Return the image of a round lamp in a surface, as a factor on its irradiance.

    A lamp of angular radius `width` that gives irradiance 1 has radiance 1 / width² (in units
    where a white diffuse surface then has radiance 1); roughness spreads the same light, within a
    fifth, over the wider image of radius √(width² + roughness²).
    """
    angle = (2 - 2 * dot(mirrored, to_lamp)).clamp(min=0).sqrt()
    spread = (width**2 + roughness**2).sqrt()
    edge = ((spread + roughness - angle) / (2 * roughness)).clamp(0, 1)
    return edge**2 * (3 - 2 * edge) / spread**2
