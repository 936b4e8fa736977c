"""Packs and feature maps of noise, for the benchmark of the stage that reads them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.features.store import StoreHeader, chunk_path, view_fingerprint
from gsn.features.update import StoreUpdate, store_path
from gsn.geometry.cell_grid import CellGrid

VIEWS_PER_SCENE = 50
HOLD = 8  # every 8th view is held out
PATCH_PX = 8


@dataclass(frozen=True)
class World:
    """Packs and feature maps on disk."""

    packs: list[Path]
    features: Path
    files: list[Path]  # of the maps, in the order and as often as the stage reads them


def make_world(folder: Path, n_maps: int, shape: tuple[int, int, int]) -> World:
    """Write scenes of noise; photographs have the size that maps of patch 8 come from."""
    rng = np.random.default_rng(0)
    fit_files, all_files, packs = [], [], []
    for first in range(0, n_maps, VIEWS_PER_SCENE):
        n_views = min(VIEWS_PER_SCENE, n_maps - first)
        capture = make_capture(f"scene_{first:05}", n_views, shape, rng)
        held_out = np.arange(n_views) % HOLD == 0
        packs.append(folder / f"{capture.name}.h5")
        write_pack(packs[-1], capture, held_out)
        store = write_maps(folder / "features", capture, shape, rng)
        files = [chunk_path(store, view) for view in range(n_views)]
        all_files += files
        fit_files += [file for file, held in zip(files, held_out, strict=True) if not held]
    return World(packs, folder / "features", fit_files + all_files)


def make_capture(
    name: str, n_views: int, shape: tuple[int, int, int], rng: np.random.Generator
) -> Capture:
    """Make a scene of noise."""
    size = (n_views, shape[0] * PATCH_PX, shape[1] * PATCH_PX, 3)
    names = tuple(f"view_{k:03}" for k in range(n_views))
    return Capture(
        name=name,
        view_names=names,
        image_sha256=names,
        images=rng.integers(0, 256, size, dtype=np.uint8),
        intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
        cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
        near=1.0,
        far=2.0,
    )


def write_maps(
    features: Path, capture: Capture, shape: tuple[int, int, int], rng: np.random.Generator
) -> Path:
    """Write maps of noise for a scene; return the folder of its store."""
    made_by: dict[str, object] = {"name": "noise"}
    header = StoreHeader(
        made_by=made_by,
        view_names=capture.view_names,
        fingerprints=tuple(view_fingerprint(made_by, image) for image in capture.images),
        map_shape=shape,
        cell_grid=CellGrid.of_patches((PATCH_PX, PATCH_PX)),
        image_size=capture.images.shape[1:3],
    )
    update = StoreUpdate(store_path(features, capture.name), header)
    update.begin()
    for view in range(len(capture.view_names)):
        update.write(view, rng.standard_normal(shape, dtype=np.float32).astype(np.float16))
    update.finish()
    return update.path
