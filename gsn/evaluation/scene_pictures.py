"""The pictures of a scene: one strip for each scored view, all in the same feature colours."""

from pathlib import Path

from gsn.evaluation.report.pictures import (
    FeatureColours,
    colour_depth,
    overlay_mask,
    to_picture,
    write_png,
)
from gsn.evaluation.report.strip import strip
from gsn.evaluation.scene_scores import ViewResult
from gsn.model.scene import Scene


class ScenePictures:
    """Writes `<folder>/<view>.png`: photo, render, depth, features, mask."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        """Fit the colours of features on the source views of the scene."""
        self._scene = scene
        self._folder = folder
        maps = scene.teacher_maps(scene.source_pool)
        self._colours = None
        if maps is not None:
            self._colours = FeatureColours.fit(list(maps.values.permute(0, 2, 3, 1)))

    def write(self, result: ViewResult) -> None:
        """Write the strip of one view."""
        photo = to_picture(result.truth.rgb)
        panels = [("photo", photo), ("render", to_picture(result.rendered.rgb))]
        if result.rendered.depth is not None:
            near, far = float(self._scene.near), float(self._scene.far)
            panels.append(("depth", colour_depth(result.rendered.depth, near, far)))
        of_teacher = f"teacher ({self._scene.teacher_name})"
        for title, view in ((of_teacher, result.truth), ("rendered features", result.rendered)):
            if self._colours is not None and view.feature is not None:
                panels.append((title, self._colours(view.feature)))
        if result.segmentation is not None:
            found = result.segmentation
            panels.append((found.label, overlay_mask(photo, found.predicted, found.truth)))
        write_png(self._folder / f"{result.name}.png", strip(panels))
