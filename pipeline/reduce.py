"""Stage `reduce`: fit a PCA basis on training views, express all feature maps in it.

in   data/prepared/<scene>.h5                which views are held out
     data/features/<teacher>/<scene>.zarr    float16 (V, h, w, C)
out  data/targets/<teacher>/<scene>.zarr     float16 (V, h, w, D), coefficients, not normalised
     data/targets/<teacher>/basis.npz        with scope `scene`: <scene>.basis.npz
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.atomic import remove
from gsn.captures.pack import Pack, open_pack
from gsn.features.pca import Basis, BasisError, PcaFit
from gsn.features.store import FeatureMaps, HalfArray, StoreError, view_fingerprint
from gsn.features.targets import SHARED_BASIS, scene_basis, target_header, target_map
from gsn.features.update import StoreUpdate, drop_all_but, store_path
from pipeline.command import DEFAULT_PARAMS, ParamsFile, PreparedFolder, run_stage
from pipeline.config import STRICT, ScenesConfig, load_section

log = logging.getLogger(__name__)
REMEDY = "run `dvc repro extract`"


@config_dataclass(frozen=True, config=STRICT)
class ReduceConfig:
    """Section `reduce` of params.yaml."""

    dims: PositiveInt  # of the basis
    # global: one basis, fitted on the training scenes; scene: one for each scene. Always on views
    # that are not held out.
    scope: Literal["global", "scene"]


@dataclass(frozen=True)
class SceneFeatures:
    """Feature maps of one scene that match its pack."""

    name: str
    maps: FeatureMaps
    fit_views: list[int]  # not held out

    def read(self, view: int) -> HalfArray:  # (h, w, C)
        """Read one map."""
        try:
            return self.maps.read(view)
        except StoreError as error:
            raise StoreError(f"{error}: {REMEDY}") from error

    def place(self, view: int) -> str:
        """Name a map, for messages."""
        return f"{self.maps.path}: view {self.maps.header.view_names[view]!r}"


def reduce(
    packs: list[Path], train_scenes: list[str], features: Path, out: Path, cfg: ReduceConfig
) -> None:
    """Write targets of all packs and the basis, or bases, they are coefficients of.

    Raises:
        FileNotFoundError: A pack or its feature maps are missing.
        ValueError: Feature maps are damaged, or not those of the packs; the basis cannot be fitted.
    """
    started = time.monotonic()
    scenes = [open_features(path, features) for path in packs]
    check_one_teacher(scenes)
    names = [scene.name for scene in scenes]
    if unknown := sorted(set(train_scenes) - set(names)):
        raise ValueError(f"training scenes {unknown} are not among the packs: {names}")
    groups: dict[str, tuple[list[SceneFeatures], list[SceneFeatures]]] = {}
    if cfg.scope == "scene":
        groups = {scene_basis(scene.name): ([scene], [scene]) for scene in scenes}
    else:
        groups[SHARED_BASIS] = ([scene for scene in scenes if scene.name in train_scenes], scenes)
    with logging_redirect_tqdm():
        for basis_file, (fitted_on, members) in groups.items():
            basis = fit(fitted_on, cfg)
            basis.save(out / basis_file)
            for scene in members:
                project(scene, basis, basis_file, out)
    drop_all_but(out, names)
    for path in out.glob(f"*{SHARED_BASIS}"):
        if path.name not in groups:
            remove(path)
    log.info("%d scenes in %s, %.1f s", len(scenes), out, time.monotonic() - started)


def open_features(path: Path, features: Path) -> SceneFeatures:
    """Open the feature maps of a pack, and make sure that they are of its very photographs."""
    with open_pack(path) as pack:
        try:
            maps = FeatureMaps(store_path(features, path.stem))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}, but {path} is prepared: {REMEDY}") from error
        except StoreError as error:
            raise StoreError(f"{error}: {REMEDY}") from error
        check_views(pack, maps)
        return SceneFeatures(path.stem, maps, np.flatnonzero(~pack.held_out).tolist())


def check_views(pack: Pack, maps: FeatureMaps) -> None:
    """Compare names and pixels of the views of a pack with those the maps were made of."""
    names = maps.header.view_names
    if names != pack.view_names:
        lacking = [name for name in pack.view_names if name not in names]
        surplus = [name for name in names if name not in pack.view_names]
        raise StoreError(
            f"{maps.path}: not the views of {pack.path}: without a map {lacking}, without a "
            f"photograph {surplus}: {REMEDY}"
        )
    for view, name in enumerate(names):
        made_of = view_fingerprint(maps.header.made_by, pack.image(view))
        if made_of != maps.header.fingerprints[view]:
            raise StoreError(
                f"{maps.path}: view {name!r} was made of another photograph than the one in "
                f"{pack.path}: {REMEDY}"
            )


def check_one_teacher(scenes: list[SceneFeatures]) -> None:
    """Refuse feature maps that were not all made by one teacher."""
    for scene in scenes[1:]:
        if scene.maps.header.made_by != scenes[0].maps.header.made_by:
            raise StoreError(
                f"{scene.maps.path} and {scenes[0].maps.path} are of different teachers: {REMEDY}"
            )


def fit(scenes: list[SceneFeatures], cfg: ReduceConfig) -> Basis:
    """Fit a basis on the views of these scenes that are not held out, one map at a time."""
    names = ", ".join(scene.name for scene in scenes)
    views = [(scene, view) for scene in scenes for view in scene.fit_views]
    if not views:
        raise BasisError(f"no view to fit a basis on in scenes [{names}]: all are held out")
    header = scenes[0].maps.header
    pca = PcaFit(header.map_shape[-1])
    for scene, view in tqdm(views, desc="fit", unit="view"):
        features = scene.read(view)
        try:
            pca.add(features)
        except BasisError as error:
            raise BasisError(f"{scene.place(view)}: {error}: {REMEDY}") from error
    made_by: dict[str, object] = {
        "scope": cfg.scope,
        "views": {
            scene.name: [scene.maps.header.view_names[view] for view in scene.fit_views]
            for scene in scenes
        },
        "features": header.made_by,
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


def project(scene: SceneFeatures, basis: Basis, basis_file: str, out: Path) -> None:
    """Write the targets of one scene, and make sure of those that are there already."""
    header = target_header(scene.maps.header, basis, basis_file)
    update = StoreUpdate(store_path(out, scene.name), header)
    if update.is_current:
        return
    update.begin()
    for view in tqdm(update.missing, desc=f"project {scene.name}", unit="view"):
        features = scene.read(view)
        try:
            update.write(view, target_map(features, basis))
        except BasisError as error:
            raise BasisError(f"{scene.place(view)}: {error}: {REMEDY}") from error
    update.finish()


def main(
    prepared: PreparedFolder,
    features: Annotated[Path, typer.Argument(help="Folder of feature maps.")],
    out: Annotated[Path, typer.Argument(help="Folder of targets to write.")],
    params: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Fit the PCA basis and write the targets."""
    scenes = load_section(params, "scenes", ScenesConfig)
    packs = [prepared / f"{name}.h5" for name in scenes.all_scenes]
    reduce(packs, scenes.train, features, out, load_section(params, "reduce", ReduceConfig))


if __name__ == "__main__":
    run_stage(main)
