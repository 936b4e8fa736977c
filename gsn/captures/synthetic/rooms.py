"""Table tops and walls to draw from."""

import math

import numpy as np

from gsn.captures.synthetic.palette import linear
from gsn.captures.synthetic.scene import Material, Room, Texture, Vector

Finish = tuple[str, Vector, Vector, float, float]  # texture, main, second (sRGB), repeats, coat

TABLES: tuple[Finish, ...] = (
    ("planks", (0.78, 0.60, 0.42), (0.60, 0.42, 0.27), 0.75, 0.03),
    ("planks", (0.52, 0.35, 0.23), (0.33, 0.21, 0.14), 0.65, 0.05),
    ("planks", (0.70, 0.66, 0.60), (0.54, 0.50, 0.45), 0.85, 0.02),
    ("gingham", (0.90, 0.87, 0.82), (0.62, 0.17, 0.17), 0.8, 0.0),
    ("gingham", (0.88, 0.88, 0.86), (0.22, 0.36, 0.58), 0.7, 0.0),
    ("tiles", (0.74, 0.70, 0.63), (0.45, 0.42, 0.39), 0.5, 0.04),
    ("stone", (0.62, 0.60, 0.57), (0.38, 0.37, 0.36), 1.1, 0.03),
    ("slab", (0.79, 0.78, 0.76), (0.47, 0.47, 0.50), 0.45, 0.05),
    ("slab", (0.25, 0.31, 0.29), (0.62, 0.66, 0.60), 0.4, 0.05),
    ("stone", (0.76, 0.60, 0.44), (0.52, 0.36, 0.24), 2.2, 0.0),
)
WALLS: tuple[Finish, ...] = (
    ("paper", (0.80, 0.77, 0.70), (0.74, 0.71, 0.64), 0.7, 0.0),
    ("paper", (0.56, 0.66, 0.70), (0.50, 0.60, 0.65), 0.6, 0.0),
    ("paper", (0.62, 0.68, 0.55), (0.55, 0.61, 0.48), 0.6, 0.0),
    ("bricks", (0.60, 0.33, 0.26), (0.70, 0.66, 0.60), 0.55, 0.0),
    ("bricks", (0.82, 0.80, 0.77), (0.68, 0.66, 0.63), 0.5, 0.0),
    ("wallpaper", (0.80, 0.76, 0.64), (0.55, 0.60, 0.48), 0.6, 0.0),
    ("wallpaper", (0.42, 0.50, 0.60), (0.76, 0.76, 0.72), 0.5, 0.0),
    ("planks", (0.80, 0.80, 0.76), (0.72, 0.73, 0.70), 0.6, 0.0),
    ("tiles", (0.80, 0.84, 0.84), (0.58, 0.60, 0.60), 0.55, 0.04),
)
SWEEPS: tuple[Finish, ...] = (
    ("paper", (0.84, 0.82, 0.78), (0.78, 0.76, 0.72), 0.5, 0.0),
    ("paper", (0.52, 0.58, 0.62), (0.47, 0.53, 0.57), 0.5, 0.0),
    ("paper", (0.76, 0.66, 0.50), (0.70, 0.60, 0.45), 0.5, 0.0),
)


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a table against a wall, a table in front of a wall, or a paper sweep."""
    kind = rng.choice(["against", "in front", "in front", "sweep"])
    if kind == "sweep":
        cover = draw_finish(rng, SWEEPS, 0.0)
        wall_y = rng.uniform(5.5, 7.0)
        return Room(cover, cover, wall_y, wall_y, rng.uniform(1.5, 2.5))
    table = draw_finish(rng, TABLES, rng.uniform(-0.5, 0.5) + rng.integers(2) * math.pi / 2)
    wall = draw_finish(rng, WALLS, math.pi / 2)
    if kind == "against":
        wall_y = rng.uniform(3.6, 4.8)
        return Room(table, wall, wall_y, wall_y, 0.0)
    edge_y = rng.uniform(3.3, 4.2)
    return Room(table, wall, edge_y + rng.uniform(1.5, 4.0), edge_y, 0.0)


def draw_finish(rng: np.random.Generator, finishes: tuple[Finish, ...], turn: float) -> Material:
    """Draw a surface of the room; its pattern runs along the direction `turn`, in rad."""
    kind, main, second, frequency, coat = finishes[rng.integers(len(finishes))]
    shade = rng.uniform(0.9, 1.08)
    r, g, b = (min(0.95, c * shade * rng.uniform(0.97, 1.03)) for c in main)
    axis = (math.cos(turn), math.sin(turn), 0.0)
    repeats = frequency * rng.uniform(0.85, 1.2)
    texture = Texture(kind, linear((r, g, b)), linear(second), repeats, axis)
    return Material(texture, coat, roughness=rng.uniform(0.15, 0.35))
