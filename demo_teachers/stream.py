"""An endless stream of rendered scenes, made by worker processes while the network trains.

Each scene is seen in pairs of pictures; for every picture the stream says where its surface points
lie in the other one of the pair, so that features of one point can be compared across views.
"""

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from demo_teachers.world import MAX_OBJECTS, draw_world
from gsn.captures.synthetic.palette import NAMED
from gsn.captures.synthetic.picture import Picture, take_picture
from gsn.captures.synthetic.scene import Scene
from gsn.captures.synthetic.shading import Shader
from gsn.captures.synthetic.shapes import SHAPES
from gsn.captures.synthetic.textures import OBJECT_TEXTURES
from gsn.geometry.cameras import Cameras
from gsn.geometry.projection import project
from gsn.geometry.rays import pixel_grid, pixel_rays

WIDTH, HEIGHT = 256, 192
WARP_STRIDE = 4  # every so many-th pixel has a partner in the other picture
SAME_SURFACE = 0.03  # relative difference of depth up to which a point is not hidden
OUTSIDE = 4.0  # a coordinate for points that the other picture does not show
ATTRIBUTES = (list(SHAPES), list(NAMED), list(OBJECT_TEXTURES))  # as numbers in `Pairs.things`
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pairs:
    """P pairs of pictures of P scenes; N is the largest number of objects."""

    images: Tensor  # (P, 2, 3, H, W) uint8
    masks: Tensor  # (P, 2, H, W) uint8, k for object k counted from 1, 0 elsewhere
    warps: Tensor  # (P, 2, H/4, W/4, 2) float16: x, y in the partner, in [-1, 1] if it is seen
    things: Tensor  # (P, N, 3) int64: number of shape, colour and pattern; -1 for no object
    places: Tensor  # (P, 2, N, 2) float32: image column / width and depth of each object's middle


class Scenes(IterableDataset[Pairs]):
    """Renders scenes without end; every worker draws its own."""

    def __init__(self, seed: int, *, named_colours: bool, pairs_per_scene: int = 2) -> None:
        self._seed, self._named_colours, self._n_pairs = seed, named_colours, pairs_per_scene

    def __iter__(self) -> Iterator[Pairs]:
        """Yield the pairs of one scene after the other."""
        info = torch.utils.data.get_worker_info()
        worker = 0 if info is None else info.id
        torch.set_num_threads(1)
        number = 0
        while True:
            rng = np.random.default_rng([self._seed, worker, number])
            yield render_pairs(
                draw_world(rng, 2 * self._n_pairs, named_colours=self._named_colours)
            )
            number += 1


class Stream:
    """Worker processes that render, and a thread that collects what they have finished."""

    def __init__(self, seed: int, workers: int, *, named_colours: bool) -> None:
        scenes = Scenes(seed, named_colours=named_colours)
        self._loader: Iterator[Pairs] = iter(
            DataLoader(scenes, batch_size=None, num_workers=workers, prefetch_factor=2)
        )
        self._finished: queue.Queue[Pairs | BaseException] = queue.Queue(maxsize=64)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        try:
            for pairs in self._loader:
                if self._over.is_set():
                    return
                self._finished.put(pairs)
        except BaseException as error:  # to be raised where the scenes are taken
            self._finished.put(error)

    def _take(self) -> Pairs:
        found = self._finished.get()
        if isinstance(found, BaseException):
            raise RuntimeError("the processes that render have failed") from found
        return found

    def close(self) -> None:
        """Stop rendering: the thread ends, then the processes."""
        self._over.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._finished.get(timeout=0.1)
        self._loader = iter(())  # a loader ends its processes when nobody holds it any more

    def wait(self, n_scenes: int) -> Iterator[Pairs]:
        """Yield so many scenes as they come."""
        for _ in range(n_scenes):
            yield self._take()

    def ready(self) -> Iterator[Pairs]:
        """Yield what is finished by now: training never waits for a picture."""
        while not self._finished.empty():
            yield self._take()


def render_pairs(scene: Scene) -> Pairs:
    """Take all pictures of a scene; neighbours in the list of its cameras are partners."""
    shader = Shader(scene, torch.device("cpu"))
    n_views = len(scene.cameras.cam_to_world)
    pictures = [take_picture(shader, view, WIDTH, HEIGHT, 1) for view in range(n_views)]
    cameras = _cameras(scene)
    partner = [view ^ 1 for view in range(n_views)]
    warps = [_warp(cameras, pictures, view, partner[view]) for view in range(n_views)]
    images = np.stack([picture.rgb for picture in pictures])
    masks = np.stack([picture.mask for picture in pictures])
    return Pairs(
        images=_in_pairs(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()),
        masks=_in_pairs(torch.from_numpy(masks)),
        warps=_in_pairs(torch.stack(warps).half()),
        things=_things(scene).repeat(n_views // 2, 1, 1),
        places=_in_pairs(_places(scene, cameras)),
    )


def _in_pairs(views: Tensor) -> Tensor:  # (V, ...) → (V/2, 2, ...)
    return views.reshape(len(views) // 2, 2, *views.shape[1:])


def _cameras(scene: Scene) -> Cameras:
    focal = scene.cameras.focal * WIDTH
    intrinsics = torch.tensor([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1.0]])
    poses = torch.from_numpy(scene.cameras.cam_to_world).float()
    return Cameras(intrinsics.repeat(len(poses), 1, 1), poses, HEIGHT, WIDTH)


def _warp(
    cameras: Cameras, pictures: list[Picture], view: int, partner: int
) -> Tensor:  # (H/4, W/4, 2)
    """Say where the surface that `view` shows lies in its partner."""
    # The pixel nearest to the middle of each 4 × 4 block.
    pixels = pixel_grid(HEIGHT, WIDTH, WARP_STRIDE) + WARP_STRIDE // 2
    depth = torch.from_numpy(pictures[view].depth)[pixels[:, 1], pixels[:, 0]]
    rays = pixel_rays(cameras[view : view + 1], pixels)
    found = project(rays.origins + depth[:, None] * rays.directions, cameras[partner : partner + 1])
    u, v = found.pixels[0].round().long().clamp(min=0).unbind(-1)
    there = torch.from_numpy(pictures[partner].depth)
    there = there[v.clamp(max=HEIGHT - 1), u.clamp(max=WIDTH - 1)]
    seen = found.visible[0] & ((found.depths[0] - there).abs() < SAME_SURFACE * there)
    unit = 2 * (found.pixels[0] + 0.5) / torch.tensor([WIDTH, HEIGHT]) - 1
    unit[~seen] = OUTSIDE
    return unit.reshape(HEIGHT // WARP_STRIDE, WIDTH // WARP_STRIDE, 2)


def _things(scene: Scene) -> Tensor:  # (N, 3)
    rows = torch.full((MAX_OBJECTS, 3), -1)
    for row, thing in zip(rows, scene.objects, strict=False):
        words = (thing.shape, thing.colour, thing.material.texture.kind)
        row[:] = torch.tensor([names.index(w) for names, w in zip(ATTRIBUTES, words, strict=True)])
    return rows


def _places(scene: Scene, cameras: Cameras) -> Tensor:  # (V, N, 2)
    places = torch.zeros(len(cameras), MAX_OBJECTS, 2)
    if scene.objects:
        middles = torch.tensor(
            [
                [*thing.position, thing.size * thing.stretch * SHAPES[thing.shape].reach[2] / 2]
                for thing in scene.objects
            ]
        )
        seen = project(middles, cameras)
        places[:, : len(middles), 0] = seen.pixels[..., 0] / WIDTH
        places[:, : len(middles), 1] = seen.depths
    return places


class Bank:
    """The last pairs of the stream, on the device: each is used many times before it goes."""

    def __init__(self, size: int, device: torch.device) -> None:
        n, h, w = MAX_OBJECTS, HEIGHT, WIDTH
        self._device = device
        self.n_seen = 0
        self._store = Pairs(
            images=torch.zeros(size, 2, 3, h, w, dtype=torch.uint8, device=device),
            masks=torch.zeros(size, 2, h, w, dtype=torch.uint8, device=device),
            warps=torch.zeros(
                (size, 2, h // WARP_STRIDE, w // WARP_STRIDE, 2), dtype=torch.float16, device=device
            ),
            things=torch.zeros(size, n, 3, dtype=torch.long, device=device),
            places=torch.zeros(size, 2, n, 2, device=device),
        )
        self.size = size

    def put(self, pairs: Pairs) -> None:
        """Take in pairs, in place of the oldest."""
        n_new = len(pairs.images)
        at = (torch.arange(n_new) + self.n_seen) % self.size
        for name, stored in vars(self._store).items():
            stored[at.to(self._device)] = getattr(pairs, name).to(self._device, non_blocking=True)
        self.n_seen += n_new

    def draw(self, n: int) -> Pairs:
        """Draw `n` of the pairs that are there."""
        rows = torch.randint(min(self.n_seen, self.size), (n,), device=self._device)
        return Pairs(**{name: stored[rows] for name, stored in vars(self._store).items()})
