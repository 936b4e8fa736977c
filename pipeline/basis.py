"""Whether targets are in the PCA basis that a model was trained to render."""

import logging

from gsn.features.targets import SHARED_BASIS
from gsn.model.checkpoint import Checkpoint
from gsn.model.scene import Scene

log = logging.getLogger(__name__)


def check_basis(scene: Scene, checkpoint: Checkpoint) -> None:
    """Refuse targets in another PCA basis than the one the model was trained to render.

    With one basis for each scene, a scene the model never saw has a basis it never saw.

    Raises:
        ValueError: The bases differ, or that of the model is unknown.
    """
    if scene.basis is None or checkpoint.feature_channels is None:
        return
    file, sha256 = scene.basis
    known = checkpoint.basis_sha256
    if not known:
        raise ValueError(
            "the basis of the features that this model renders is unknown (an imported model): "
            "train it on these targets with pipeline.distill first"
        )
    if file not in known and SHARED_BASIS not in {file, *known}:
        log.warning("%s: scored in a basis of its own, which the model never saw", scene.name)
        return
    if known.get(file) != sha256:
        raise ValueError(
            f"scene {scene.name!r}: targets in the basis {file} {sha256[:12]}, but the model "
            f"renders {', '.join(f'{name} {value[:12]}' for name, value in known.items())}: "
            "run `dvc repro distill`"
        )
