"""Write a synthetic capture as LLFF captures lie on disk, with masks and depth beside it."""

import json
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch

from gsn.atomic import complete_or_absent
from gsn.captures.capture import ByteArray
from gsn.captures.synthetic.cameras import poses_bounds
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.draw import draw_scene
from gsn.captures.synthetic.picture import Picture, take_picture
from gsn.captures.synthetic.scene import Scene
from gsn.captures.synthetic.shading import Shader

log = logging.getLogger(__name__)

BOUND_PERCENTILES = (0.1, 99.9)  # of a view's depth: what sparse points would see of it


def write_synthetic_capture(
    folder: Path,
    name: str,
    cfg: SyntheticConfig,
    on_view: Callable[[int], None] | None = None,
) -> None:
    """Render the scene that `cfg.seed` and `name` determine and write it to `folder`.

    The folder is replaced as a whole: `images/`, `masks/` with `labels.json`, `depth/` (z-depth in
    the units of the poses), `poses_bounds.npy`.

    Args:
        folder: Of this capture.
        name: Of the scene.
        cfg: What to render.
        on_view: Called with the number of each view when it has been written.
    """
    started = time.monotonic()
    scene = draw_scene(name, cfg)
    bounds = []
    with complete_or_absent(folder) as partial:
        for part in ("images", "masks", "depth"):
            (partial / part).mkdir(parents=True)
        with closing(_take_pictures(scene, cfg)) as pictures:
            for view, picture in enumerate(pictures):
                _write_view(partial, f"view_{view:03d}", picture)
                bounds.append(np.percentile(picture.depth.astype(np.float64), BOUND_PERCENTILES))
                if on_view is not None:
                    on_view(view)
        rows = poses_bounds(scene.cameras, cfg.width_px, cfg.height_px, np.stack(bounds))
        np.save(partial / "poses_bounds.npy", rows)
        labels = {str(k): thing.caption for k, thing in enumerate(scene.objects, start=1)}
        text = json.dumps(labels, indent=2) + "\n"
        (partial / "masks" / "labels.json").write_text(text, encoding="utf-8")
    seconds = time.monotonic() - started
    log.info("%s: %d views of %d objects, %.1f s", folder, cfg.n_views, len(labels), seconds)


def _take_pictures(scene: Scene, cfg: SyntheticConfig) -> Generator[Picture, None, None]:
    """Render the views in order, several at a time."""
    shader = Shader(scene, torch.device("cpu"))

    def take(view: int) -> Picture:
        return take_picture(shader, view, cfg.width_px, cfg.height_px, cfg.samples_per_side)

    with _one_thread_per_operation(), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        yield from pool.map(take, range(cfg.n_views))


@contextmanager
def _one_thread_per_operation() -> Iterator[None]:
    """Keep torch from dividing operations among threads: the views are divided already.

    How an operation is divided may also show in the last bit of its result.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_view(folder: Path, stem: str, picture: Picture) -> None:
    _write_png(folder / "images" / f"{stem}.png", picture.rgb[..., ::-1])
    _write_png(folder / "masks" / f"{stem}.png", picture.mask)
    np.save(folder / "depth" / f"{stem}.npy", picture.depth)


def _write_png(path: Path, pixels: ByteArray) -> None:
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path}: the image could not be written")
