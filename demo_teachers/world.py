"""Scenes for training: the synthetic generator with everything it fixes let loose.

The captures of the default run show four to seven things of fitting size on a tidy table, from in
front. Here things are one to nine, of any size, stretched, of any colour and pattern, in any light,
seen from low and high, near and far. Random numbers come from the training seed: no scene is one
of the default ones, which are drawn from a hash of their names.
"""

import colorsys
import math
from dataclasses import replace

import numpy as np

from gsn.captures.synthetic.cameras import look_along
from gsn.captures.synthetic.draw import COATS
from gsn.captures.synthetic.palette import NAMED, linear
from gsn.captures.synthetic.room_textures import ROOM_TEXTURES
from gsn.captures.synthetic.rooms import SWEEPS, TABLES, WALLS, draw_finish
from gsn.captures.synthetic.scene import (
    CameraArray,
    Light,
    Material,
    Room,
    Scene,
    SceneObject,
    Texture,
    Vector,
)
from gsn.captures.synthetic.shapes import SHAPES
from gsn.captures.synthetic.textures import OBJECT_TEXTURES

MAX_OBJECTS = 9
PLACES_X, PLACES_Y = (-3.6, 3.6), (-2.6, 2.6)  # on the table, in scene units
TRIES = 40  # for a free place; a thing that finds none is left out


def draw_world(rng: np.random.Generator, n_views: int, *, named_colours: bool) -> Scene:
    """Draw a scene with `n_views` cameras that look at it from different sides.

    Args:
        rng: Source of all choices.
        n_views: Number of cameras.
        named_colours: Only colours that a caption can name; otherwise half of them are any.
    """
    things = _draw_things(rng, named_colours)
    room = _draw_room(rng)
    return Scene(
        objects=things,
        room=room,
        light=_draw_light(rng),
        cameras=_draw_cameras(rng, room, n_views),
        exposure=rng.uniform(0.75, 1.25),
        noise_seed=int(rng.integers(2**31)),
    )


def _draw_things(rng: np.random.Generator, named_colours: bool) -> tuple[SceneObject, ...]:
    things: list[SceneObject] = []
    crowd = rng.integers(1, MAX_OBJECTS + 1)
    for _ in range(crowd):
        shape = str(rng.choice(list(SHAPES)))
        colour = str(rng.choice(list(NAMED)))
        size = float(rng.uniform(0.5, 1.6) * min(1.2, (6 / crowd) ** 0.35))
        radius = size * SHAPES[shape].footprint
        place = _free_place(rng, radius, things)
        if place is not None:
            low, high = SHAPES[shape].stretch
            stretch = float(rng.uniform(low * 0.8, high * 1.25))
            material = _draw_material(rng, colour, named_colours)
            yaw = float(rng.uniform(-math.pi, math.pi))
            things.append(SceneObject(shape, colour, material, place, yaw, size, stretch))
    return tuple(things)


def _free_place(
    rng: np.random.Generator, radius: float, things: list[SceneObject]
) -> tuple[float, float] | None:
    for _ in range(TRIES):
        place = (float(rng.uniform(*PLACES_X)), float(rng.uniform(*PLACES_Y)))
        if all(
            math.dist(place, other.position)
            > radius + other.size * SHAPES[other.shape].footprint + 0.05
            for other in things
        ):
            return place
    return None


def _draw_material(rng: np.random.Generator, colour: str, named_colours: bool) -> Material:
    kind = str(rng.choice(list(OBJECT_TEXTURES)))
    if named_colours or rng.random() < 0.5:
        main = _near(rng, NAMED[colour], 0.08)
    else:
        main = _any_colour(rng)
    second = _second_colour(rng, main)
    axis = rng.normal(size=3) * 0.5 + (0.0, 0.0, 1.0)
    x, y, z = (float(c) for c in axis / np.linalg.norm(axis))
    coat, roughness = COATS[rng.integers(len(COATS))]
    frequency = float(np.exp(rng.uniform(math.log(0.9), math.log(3.5))))
    return Material(Texture(kind, main, second, frequency, (x, y, z)), coat, roughness)


def _near(rng: np.random.Generator, srgb: Vector, spread: float) -> Vector:
    factor = 1 + rng.uniform(-spread, spread, 3)
    r, g, b = (float(np.clip(c * f, 0.04, 0.96)) for c, f in zip(srgb, factor, strict=True))
    return linear((r, g, b))


def _any_colour(rng: np.random.Generator) -> Vector:
    return linear(colorsys.hsv_to_rgb(rng.random(), rng.random() ** 0.7, rng.uniform(0.1, 0.95)))


def _second_colour(rng: np.random.Generator, main: Vector) -> Vector:
    """Draw the colour of stripes, dots and veins: light beside dark and the other way round.

    Never a strong colour, so that 'red striped' is true of one colour only.
    """
    bright = 0.2126 * main[0] + 0.7152 * main[1] + 0.0722 * main[2] > 0.25
    value = rng.uniform(0.05, 0.3) if bright else rng.uniform(0.7, 0.95)
    return linear(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.3), value))


def _draw_room(rng: np.random.Generator) -> Room:
    turn = rng.uniform(-math.pi, math.pi)
    table = _vary(rng, draw_finish(rng, TABLES + SWEEPS, turn))
    wall = _vary(rng, draw_finish(rng, WALLS + TABLES, math.pi / 2))
    kind = rng.integers(4)
    if kind == 0:
        wall_y = rng.uniform(5.0, 8.0)
        return Room(table, table, wall_y, wall_y, rng.uniform(1.0, 2.5))
    if kind == 1:
        wall_y = rng.uniform(3.6, 7.0)
        return Room(table, wall, wall_y, wall_y, 0.0)
    edge_y = rng.uniform(3.3, 5.0)
    return Room(table, wall, edge_y + rng.uniform(1.0, 5.0), edge_y, 0.0)


def _vary(rng: np.random.Generator, material: Material) -> Material:
    """Give a surface of the room, now and then, other colours or another pattern."""
    texture = material.texture
    if rng.random() < 0.6:
        main = _any_colour(rng)
        mixed = tuple(0.6 * m + 0.4 * o for m, o in zip(main, texture.second, strict=True))
        r, g, b = mixed if rng.random() < 0.5 else _any_colour(rng)
        texture = replace(texture, main=main, second=(r, g, b))
    if rng.random() < 0.3:
        texture = replace(texture, kind=str(rng.choice(list(ROOM_TEXTURES))))
    frequency = texture.frequency * float(np.exp(rng.uniform(-0.6, 0.6)))
    return replace(material, texture=replace(texture, frequency=frequency))


def _draw_light(rng: np.random.Generator) -> Light:
    angle, height = rng.uniform(-math.pi, 0.35 * math.pi), rng.uniform(3.5, 10.0)
    away = rng.uniform(2.0, 8.0)
    warm = rng.uniform(-0.2, 0.25)
    strength = rng.uniform(0.4, 1.6)
    sky = rng.uniform(0.12, 0.5)
    return Light(
        (away * math.cos(angle), away * math.sin(angle), height),
        radius=rng.uniform(0.2, 2.0),
        colour=(strength * (1 + warm), strength, strength * (1 - warm)),
        sky=(sky * (1 - warm), sky, sky * (1 + warm)),
        fill=(fill := rng.uniform(0.03, 0.25), fill, fill),
    )


def _draw_cameras(rng: np.random.Generator, room: Room, n_views: int) -> CameraArray:
    """Place cameras about one direction, some far apart: all see mostly the same things."""
    pitch, yaw = rng.uniform(8, 55), rng.uniform(-35, 35)
    distance, focal = rng.uniform(6.0, 12.0), rng.uniform(0.9, 1.6)
    aim = np.array([rng.uniform(-1.2, 1.2), rng.uniform(-0.6, 0.8), rng.uniform(0.3, 1.0)])
    poses = np.tile(np.eye(4), (n_views, 1, 1))
    for pose in poses:
        up = math.radians(np.clip(pitch + rng.normal() * 8, 6, 65))
        side = math.radians(yaw + rng.normal() * 12)
        away = distance * rng.uniform(0.85, 1.15)
        level = np.array([math.sin(side), math.cos(side), 0.0])
        forward = math.cos(up) * level - math.sin(up) * np.array([0.0, 0.0, 1.0])
        pose[:3, 3] = aim + rng.normal(size=3) * 0.25 - away * forward
        pose[2, 3] = max(pose[2, 3], 0.4)
        pose[:3, :3] = look_along(forward, rng.normal() * math.radians(4))
    return CameraArray(poses, float(focal))
