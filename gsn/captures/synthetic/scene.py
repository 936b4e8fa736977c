"""A synthetic scene as plain numbers: objects, surfaces, light, room and cameras.

World: x to the right, y away from the cameras, z up; the table top is z = 0. Lengths are in scene
units: an object is one or two of them wide, the cameras are some nine away. Colours are linear RGB.
"""

from dataclasses import dataclass

from gsn.captures.capture import FloatArray

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Texture:
    """A solid pattern: colour as a function of the place in the object's own space."""

    kind: str  # a key of `textures.TEXTURES`
    main: Vector
    second: Vector
    frequency: float  # repeats per unit of that space
    axis: Vector  # unit vector the pattern runs along, where it has a direction


@dataclass(frozen=True)
class Material:
    """What a surface does with light."""

    texture: Texture
    coat: float  # part of the light mirrored at normal incidence: 0 is matte, 0.04 varnish
    roughness: float  # half width of a highlight's soft edge, in rad


@dataclass(frozen=True)
class SceneObject:
    """A thing that stands on the table."""

    shape: str  # a key of `shapes.SHAPES`
    colour: str  # name of the main colour
    material: Material
    position: tuple[float, float]  # x, y of its foot
    yaw: float  # turn about the vertical, in rad
    size: float  # scene units per unit of the shape's own space
    stretch: float  # further factor on the height

    @property
    def caption(self) -> str:
        """Name the object as a person would: 'red striped sphere'."""
        kind = self.material.texture.kind
        return " ".join([self.colour, *([] if kind == "plain" else [kind]), self.shape])


@dataclass(frozen=True)
class Room:
    """Table top and wall; every ray of a camera that looks forward ends on one of them."""

    ground: Material
    wall: Material
    wall_y: float
    edge_y: float  # where the table ends; `wall_y` where it touches the wall
    fillet: float  # radius of the bend between them, as of a paper sweep; 0 is a sharp corner


@dataclass(frozen=True)
class Light:
    """One soft lamp, and the light that comes from everywhere."""

    position: Vector
    radius: float
    colour: Vector  # irradiance at the middle of the table, facing the lamp
    sky: Vector  # irradiance from above without the lamp
    fill: Vector  # irradiance from the cameras' side, without shadow


@dataclass(frozen=True)
class CameraArray:
    """Cameras of one focal length, in OpenCV axes."""

    cam_to_world: FloatArray  # (V, 4, 4)
    focal: float  # in image widths


@dataclass(frozen=True)
class Scene:
    """All that determines the pictures of a capture, their size apart."""

    objects: tuple[SceneObject, ...]
    room: Room
    light: Light
    cameras: CameraArray
    exposure: float
    noise_seed: int  # of the lattice behind wood, marble and the like
