"""Stage `extract`: run the teacher over every prepared view and keep its feature maps.

in   data/prepared/<scene>.h5                photographs
out  data/features/<teacher>/<scene>.zarr    float16 (V, h, w, C), one chunk a view

The output is brought up to date: only maps that are missing, or were made of another photograph
or by another teacher, are computed.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.captures.pack import Pack, open_pack
from gsn.features.store import HalfArray, StoreHeader, view_fingerprint
from gsn.features.update import StoreUpdate, drop_all_but, store_path
from gsn.teachers import load_teacher
from gsn.teachers.teacher import Teacher, TeacherConfig
from pipeline.command import DEFAULT_PARAMS, DeviceName, ParamsFile, PreparedFolder, run_stage
from pipeline.config import ScenesConfig, load_section
from pipeline.device import pick_device

log = logging.getLogger(__name__)


def extract(packs: list[Path], out: Path, teacher: Teacher) -> None:
    """Bring the stores in `out` up to date: a map of each view of each pack, and no others.

    Views pass the network one at a time, so that a map has the same bits whatever else is missing.

    Raises:
        ValueError: The teacher gives a value that float16 cannot hold, or refuses a photograph.
    """
    started = time.monotonic()
    updates = [(pack, plan(pack, out, teacher)) for pack in packs]
    n_missing = sum(len(update.missing) for _, update in updates)
    n_reused = sum(update.n_reused for _, update in updates)
    n_bytes = sum(len(update.missing) * update.header.map_bytes for _, update in updates)
    log.info("%d maps to make, %d to reuse, %.1f MB to write", n_missing, n_reused, n_bytes / 1e6)
    if not teacher.trained:
        log.warning("%s has untrained weights: its maps serve for trials only", teacher.name)
    with (
        logging_redirect_tqdm(),
        tqdm(total=n_missing, desc=teacher.name, unit="view", disable=n_missing == 0) as progress,
    ):
        for path, update in updates:
            if not update.is_current:
                make_maps(path, update, teacher, progress.update)
    n_dropped = drop_all_but(out, [path.stem for path in packs])
    log.info("%d maps made, %d reused, %d stores dropped", n_missing, n_reused, n_dropped)
    log.info("%d scenes in %s, %.1f s", len(packs), out, time.monotonic() - started)


def plan(path: Path, out: Path, teacher: Teacher) -> StoreUpdate:
    """Compare the store of a scene with what its pack and the teacher ask for."""
    with open_pack(path) as pack:
        height, width = pack.image_size
        header = StoreHeader(
            made_by=teacher.fingerprint,
            view_names=pack.view_names,
            fingerprints=tuple(
                view_fingerprint(teacher.fingerprint, pack.image(view))
                for view in range(pack.n_views)
            ),
            map_shape=(*teacher.grid_size(height, width), teacher.channels),
            cell_grid=teacher.grid(height, width),
            image_size=(height, width),
        )
    return StoreUpdate(store_path(out, path.stem), header)


def make_maps(
    path: Path, update: StoreUpdate, teacher: Teacher, on_map: Callable[[], object]
) -> None:
    """Compute the missing maps of one scene and publish its store."""
    update.begin()
    with open_pack(path) as pack:
        for view in update.missing:
            update.write(view, feature_map(pack, view, teacher))
            on_map()
    update.finish()


def feature_map(pack: Pack, view: int, teacher: Teacher) -> HalfArray:  # (h, w, C)
    """Compute the map of one view.

    Raises:
        ValueError: A value is NaN or beyond float16.
    """
    features = teacher(torch.from_numpy(pack.image(view))[None])[0].half().cpu().numpy()
    if not np.isfinite(features).all():
        raise ValueError(
            f"{pack.path}: view {pack.view_names[view]!r}: {teacher.name} gives NaN or a value "
            "beyond the range of float16; check its weights"
        )
    return features


def main(
    prepared: PreparedFolder,
    out: Annotated[Path, typer.Argument(help="Folder of feature maps to bring up to date.")],
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
) -> None:
    """Compute the teacher's feature maps of all views."""
    scenes = load_section(params, "scenes", ScenesConfig).all_scenes
    teacher = load_teacher(load_section(params, "teacher", TeacherConfig), pick_device(device))
    extract([prepared / f"{name}.h5" for name in scenes], out, teacher)


if __name__ == "__main__":
    run_stage(main)
