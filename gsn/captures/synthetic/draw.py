"""Draw a random scene: what stands where, of what colour and pattern, in what room and light."""

import hashlib
import math

import numpy as np

from gsn.captures.synthetic.cameras import Viewpoint, draw_cameras, draw_viewpoint
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.layout import draw_layout
from gsn.captures.synthetic.palette import DARK, LIGHT, NAMED, linear, luminance
from gsn.captures.synthetic.rooms import draw_room
from gsn.captures.synthetic.scene import Light, Material, Scene, SceneObject, Texture, Vector
from gsn.captures.synthetic.shapes import SHAPES
from gsn.captures.synthetic.textures import OBJECT_TEXTURES

FREQUENCY = {"marbled": 1.0, "wooden": 2.2, "speckled": 1.6, "patched": 2.0, "dotted": 2.1}
COATS = ((0.0, 0.4), (0.03, 0.25), (0.05, 0.08))  # reflectance, roughness: matte, satin, glossy


def draw_scene(name: str, cfg: SyntheticConfig) -> Scene:
    """Draw the scene that the seed and the name determine, whatever other scenes there are."""
    digest = hashlib.sha256(f"{cfg.seed} {name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    room = draw_room(rng)
    viewpoint = draw_viewpoint(rng)
    return Scene(
        objects=_draw_objects(rng, cfg, viewpoint, room.ground.texture.main),
        room=room,
        light=_draw_light(rng),
        cameras=draw_cameras(rng, viewpoint, cfg.n_views, cfg.baseline),
        exposure=rng.uniform(0.9, 1.1),
        noise_seed=int(rng.integers(2**31)),
    )


def _draw_objects(
    rng: np.random.Generator, cfg: SyntheticConfig, viewpoint: Viewpoint, ground: Vector
) -> tuple[SceneObject, ...]:
    """Draw objects no two of which share shape, colour or (while there are enough) pattern."""
    n = int(rng.integers(cfg.min_objects, cfg.max_objects + 1))
    shapes = _draw_many(rng, list(SHAPES), n)
    # A colour that is lost on this table is left out.
    colours = [c for c, rgb in NAMED.items() if math.dist(linear(rgb), ground) > 0.15]
    colours = _draw_many(rng, colours, n)
    kinds = _draw_many(rng, list(OBJECT_TEXTURES), n)
    # Few things are larger, so that the picture is full either way.
    sizes = min(1.3, (5.5 / n) ** 0.4) * rng.uniform(0.82, 1.15, n)
    stretches = np.array([rng.uniform(*SHAPES[shape].stretch) for shape in shapes])
    radii = sizes * [SHAPES[shape].footprint for shape in shapes]
    heights = sizes * stretches * [SHAPES[shape].reach[2] for shape in shapes]
    places, scale = draw_layout(rng, radii, heights, viewpoint, cfg.height_px / cfg.width_px)
    return tuple(
        SceneObject(
            shape=shapes[k],
            colour=colours[k],
            material=_draw_material(rng, kinds[k], colours[k]),
            position=places[k],
            yaw=rng.uniform(-math.pi, math.pi),
            size=float(sizes[k]) * scale,
            stretch=float(stretches[k]),
        )
        for k in range(n)
    )


def _draw_many(rng: np.random.Generator, choices: list[str], n: int) -> list[str]:
    """Draw `n` of the choices, each once before any comes again."""
    rounds = [rng.permutation(choices) for _ in range(math.ceil(n / len(choices)))]
    return [str(choice) for choice in np.concatenate(rounds)[:n]]


def _draw_material(rng: np.random.Generator, kind: str, colour: str) -> Material:
    r, g, b = (float(np.clip(c * rng.uniform(0.93, 1.07), 0.05, 0.95)) for c in NAMED[colour])
    main = linear((r, g, b))
    if kind == "wooden":
        dim = 0.35 if luminance(main) > 0.05 else 4.0
        second: Vector = (main[0] * dim, main[1] * dim * 0.9, main[2] * dim * 0.8)
    else:
        others = DARK if luminance(main) > 0.3 else LIGHT
        second = linear(others[rng.integers(len(others))])
    axis = rng.normal(size=3) * (0.35, 0.35, 0.35) + (0.0, 0.0, 1.0)
    x, y, z = (float(c) for c in axis / np.linalg.norm(axis))
    frequency = FREQUENCY.get(kind, 1.9) * rng.uniform(0.8, 1.3)
    coat, roughness = COATS[rng.integers(len(COATS))]
    return Material(Texture(kind, main, second, frequency, (x, y, z)), coat, roughness)


def _draw_light(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1.0, 1.0]))
    position = (side * rng.uniform(4.0, 7.5), rng.uniform(-4.5, 3.0), rng.uniform(6.0, 9.0))
    warm = rng.uniform(-0.08, 0.12)
    strength = rng.uniform(1.0, 1.25)
    return Light(
        position,
        radius=rng.uniform(0.5, 1.5),
        colour=(strength * (1 + warm), strength, strength * (1 - warm)),
        sky=(0.26 * (1 - warm), 0.27, 0.29 * (1 + warm)),
        fill=(0.10, 0.10, 0.10),
    )
