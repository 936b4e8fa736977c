"""Stage `reduce`: fit a PCA basis on training views, express all feature maps in it.

in   data/prepared/<scene>.h5                which views are held out
     data/features/<teacher>/<scene>.zarr    float16 (V, h, w, C)
     data/features/<teacher>/basis.npz       if these are themselves coefficients
     data/features/<teacher>/prompts.npz     if the teacher reads text
out  data/targets/<teacher>/<scene>.zarr     float16 (V, h, w, D), coefficients, not normalised
     data/targets/<teacher>/basis.npz        from the teacher's channels to D; with scope `scene`:
                                             <scene>.basis.npz
     data/targets/<teacher>/prompts.npz      a copy: text vectors stay in the teacher's space
"""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.atomic import complete_or_absent, remove
from gsn.captures.pack import PackError
from gsn.extraction.scene_features import SceneFeatures, from_teacher, open_features, prompts_of
from gsn.features.basis import Basis, BasisError, Projector
from gsn.features.prompts import PROMPTS_FILE, PromptsError
from gsn.features.reduction import fit_maps, write_coefficients
from gsn.features.store import StoreError
from gsn.features.targets import SHARED_BASIS, scene_basis, target_header
from gsn.features.update import StoreUpdate, drop_all_but, store_path
from pipeline.command import (
    DEFAULT_PARAMS,
    DeviceName,
    ParamsFile,
    PreparedFolder,
    mend,
    remedy,
    run_stage,
)
from pipeline.config import STRICT, ScenesConfig, load_section
from pipeline.device import pick_device

log = logging.getLogger(__name__)


@config_dataclass(frozen=True, config=STRICT)
class ReduceConfig:
    """Section `reduce` of params.yaml."""

    dims: PositiveInt  # of the basis
    # global: one basis, fitted on the training scenes; scene: one for each scene. Always on views
    # that are not held out.
    scope: Literal["global", "scene"]


@contextmanager
def mend_features() -> Iterator[None]:
    """Add to the message of an error in features what mends them."""
    with (
        remedy("run `dvc repro extract`", FileNotFoundError),
        mend("extract", StoreError, BasisError, PromptsError),
    ):
        yield


# File of a basis -> scenes it is fitted on, scenes that are expressed in it.
Groups = dict[str, tuple[list[SceneFeatures], list[SceneFeatures]]]


def reduce(
    packs: list[Path],
    train_scenes: list[str],
    features: Path,
    out: Path,
    cfg: ReduceConfig,
    device: torch.device,
) -> None:
    """Write targets of all packs and the basis, or bases, they are coefficients of.

    Raises:
        FileNotFoundError: A pack or its feature maps are missing.
        ValueError: Feature maps are damaged, or not those of the packs; the basis cannot be fitted.
    """
    started = time.monotonic()
    with mend_features():
        scenes = open_features(packs, features)
    groups = group(scenes, train_scenes, cfg)
    log_price(groups, cfg)
    with logging_redirect_tqdm():
        for basis_file, (fitted_on, members) in groups.items():
            fitted = fit(fitted_on, cfg, device)
            with mend_features():
                basis = from_teacher(fitted, features, members[0])
            basis.save(out / basis_file)
            for scene in members:
                header = target_header(scene.maps.header, basis, basis_file)
                project(scene, StoreUpdate(store_path(out, scene.name), header), fitted, device)
    copy_prompts(scenes[0], features, out)
    drop_all_but(out, [scene.name for scene in scenes])
    for path in out.glob(f"*{SHARED_BASIS}"):
        if path.name not in groups:
            remove(path)
    log.info("%d scenes in %s, %.1f s", len(scenes), out, time.monotonic() - started)


def group(scenes: list[SceneFeatures], train_scenes: list[str], cfg: ReduceConfig) -> Groups:
    """Say which scenes share a basis, and which of them it is fitted on."""
    names = [scene.name for scene in scenes]
    if unknown := sorted(set(train_scenes) - set(names)):
        raise ValueError(f"training scenes {unknown} are not among the packs: {names}")
    if cfg.scope == "scene":
        return {scene_basis(scene.name): ([scene], [scene]) for scene in scenes}
    return {SHARED_BASIS: ([scene for scene in scenes if scene.name in train_scenes], scenes)}


def log_price(groups: Groups, cfg: ReduceConfig) -> None:
    """Say how much will be read and written, if nothing can be reused."""
    n_fit = n_all = read = written = 0
    for fitted_on, members in groups.values():
        n_fit += sum(len(scene.fit_views) for scene in fitted_on)
        n_all += sum(len(scene.maps) for scene in members)
        read += sum(len(scene.fit_views) * scene.maps.header.map_bytes for scene in fitted_on)
        for scene in members:
            read += len(scene.maps) * scene.maps.header.map_bytes
            shape = (*scene.maps.header.map_shape[:2], cfg.dims)
            written += len(scene.maps) * replace(scene.maps.header, map_shape=shape).map_bytes
    log.info(
        "%d maps to fit on, at most %d to project: %.3f MB to read, %.3f MB to write",
        *(n_fit, n_all, read / 1e6, written / 1e6),
    )


def fit(scenes: list[SceneFeatures], cfg: ReduceConfig, device: torch.device) -> Basis:
    """Fit a basis on the views of these scenes that are not held out, one map at a time."""
    names = ", ".join(scene.name for scene in scenes)
    views = [(scene.maps, view) for scene in scenes for view in scene.fit_views]
    if not views:
        raise BasisError(f"no view to fit a basis on in scenes [{names}]: all are held out")
    with mend_features(), tqdm(total=len(views), desc="fit", unit="view") as progress:
        pca = fit_maps(views, device, progress.update)
    made_by: dict[str, object] = {
        "scope": cfg.scope,
        "views": {
            scene.name: [scene.maps.header.view_names[view] for view in scene.fit_views]
            for scene in scenes
        },
        "features": scenes[0].maps.header.made_by,
    }
    try:
        basis = pca.solve(cfg.dims, made_by)
    except BasisError as error:
        raise BasisError(f"scenes [{names}]: {error}; lower `dims` of section `reduce`") from error
    log.info(
        "basis of %d dimensions from %d vectors of %d views keeps %.1f %% of the variance",
        *(cfg.dims, basis.n_samples, len(views), 100 * basis.explained_variance_ratio.sum()),
    )
    return basis


def project(scene: SceneFeatures, update: StoreUpdate, basis: Basis, device: torch.device) -> None:
    """Write the targets of one scene, and make sure of those that are there already."""
    if update.is_current:
        return
    n_missing = len(update.missing)
    with (
        mend_features(),
        tqdm(total=n_missing, desc=f"project {scene.name}", unit="view") as progress,
    ):
        write_coefficients(scene.maps, update, Projector(basis, device), progress.update)


def copy_prompts(scene: SceneFeatures, features: Path, out: Path) -> None:
    """Let the prompts lie beside the targets as they lie beside the features, or not at all."""
    with mend_features():
        prompts = prompts_of(features, scene)
    if prompts is not None:
        with complete_or_absent(out / PROMPTS_FILE) as partial:
            shutil.copyfile(features / PROMPTS_FILE, partial)
    else:
        remove(out / PROMPTS_FILE)


@mend("prepare", PackError)
def main(
    prepared: PreparedFolder,
    features: Annotated[Path, typer.Argument(help="Folder of feature maps.")],
    out: Annotated[Path, typer.Argument(help="Folder of targets to write.")],
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
) -> None:
    """Fit the PCA basis and write the targets."""
    scenes = load_section(params, "scenes", ScenesConfig)
    packs = [prepared / f"{name}.h5" for name in scenes.all_scenes]
    cfg = load_section(params, "reduce", ReduceConfig)
    reduce(packs, scenes.train, features, out, cfg, pick_device(device))


if __name__ == "__main__":
    run_stage(main)
