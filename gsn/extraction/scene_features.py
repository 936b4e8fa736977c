"""Feature maps of scenes, made sure to be those of their packs."""

from dataclasses import dataclass
from pathlib import Path

from gsn.captures.survey import PackSurvey, survey_packs
from gsn.features.basis import Basis
from gsn.features.prompts import PROMPTS_FILE, Prompts, load_prompts
from gsn.features.store import FeatureMaps, StoreError, map_fingerprint
from gsn.features.targets import load_targets
from gsn.features.update import store_path


@dataclass(frozen=True)
class SceneFeatures:
    """Feature maps of one scene that match its pack."""

    name: str
    maps: FeatureMaps
    fit_views: list[int]  # not held out


def open_features(packs: list[Path], features: Path) -> list[SceneFeatures]:
    """Open the feature maps of packs, and make sure that they are of their very photographs.

    Raises:
        FileNotFoundError: A pack or its feature maps are missing.
        PackError: A file is no pack.
        StoreError: Feature maps are damaged, of other views or photographs, or of two teachers.
    """
    scenes = [_open(survey, features) for survey in survey_packs(packs)]
    _check_one_teacher(scenes)
    return scenes


def _open(pack: PackSurvey, features: Path) -> SceneFeatures:
    try:
        maps = FeatureMaps(store_path(features, pack.scene))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, but {pack.path} is prepared") from error
    _check_views(pack, maps)
    fit_views = [view for view, held_out in enumerate(pack.held_out) if not held_out]
    return SceneFeatures(pack.scene, maps, fit_views)


def _check_views(pack: PackSurvey, maps: FeatureMaps) -> None:
    """Compare names and pixels of the views of a pack with those the maps were made of."""
    names = maps.header.view_names
    if names != pack.view_names:
        lacking = [name for name in pack.view_names if name not in names]
        surplus = [name for name in names if name not in pack.view_names]
        raise StoreError(
            f"{maps.path}: not the views of {pack.path}: without a map {lacking}, without a "
            f"photograph {surplus}"
        )
    for view, name in enumerate(names):
        made_of = map_fingerprint(maps.header.made_by, pack.image_sha256[view])
        if made_of != maps.header.fingerprints[view]:
            raise StoreError(
                f"{maps.path}: view {name!r} was made of another photograph than the one in "
                f"{pack.path}"
            )


def _check_one_teacher(scenes: list[SceneFeatures]) -> None:
    """Refuse feature maps that were not all made by one teacher."""
    for scene in scenes[1:]:
        if scene.maps.header.made_by != scenes[0].maps.header.made_by:
            raise StoreError(
                f"{scene.maps.path} and {scenes[0].maps.path} are of different teachers"
            )


def from_teacher(basis: Basis, features: Path, scene: SceneFeatures) -> Basis:
    """Let a basis begin at the channels of the teacher, if the features are coefficients.

    Args:
        basis: Fitted on the features.
        features: Their folder.
        scene: One of those it was fitted on.

    Raises:
        FileNotFoundError: The basis that the features are coefficients of is missing.
        ValueError: It is damaged, or another one.
    """
    if "basis" not in scene.maps.header.made_by:
        return basis
    return basis.after(load_targets(features, scene.name).basis)


def prompts_of(features: Path, scene: SceneFeatures) -> Prompts | None:
    """Read the prompts that lie beside feature maps, made sure to be of the same teacher.

    Args:
        features: Folder of the maps.
        scene: One of them.

    Raises:
        PromptsError: The file is damaged.
        StoreError: Another teacher than that of the maps has embedded them.
    """
    prompts = load_prompts(features)
    made_by = scene.maps.header.made_by
    teacher = made_by["features"] if "basis" in made_by else made_by
    if prompts is not None and prompts.made_by.get("teacher") != teacher:
        raise StoreError(
            f"{features / PROMPTS_FILE} and {scene.maps.path} are of different teachers"
        )
    return prompts
