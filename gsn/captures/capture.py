"""What every reader of a capture returns: photographs with names, cameras, depth range, labels."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]
FEWEST_VIEWS = 3  # a target and two source views


class CaptureError(ValueError):
    """A capture cannot be used; the message says which file, what was found, what to do."""


def check_view_count(place: Path, n_views: int) -> None:
    """Refuse a capture with too few views.

    Raises:
        CaptureError: There are fewer than `FEWEST_VIEWS`.
    """
    if n_views < FEWEST_VIEWS:
        raise CaptureError(f"{place}: {n_views} views, expected at least {FEWEST_VIEWS}")


@dataclass(frozen=True)
class Masks:
    """Objects labelled in some or all views of a capture."""

    labels: tuple[str, ...]  # name of each object; object k has the value k + 1 in `values`
    values: ByteArray  # (V, H, W); 0 is everything else
    present: npt.NDArray[np.bool_]  # (V,); False where a view has no mask file


@dataclass(frozen=True)
class Capture:
    """One scene, in memory, in the project's convention (see `gsn.geometry.cameras`)."""

    name: str
    view_names: tuple[str, ...]  # file stems, sorted; everything is paired by these
    image_sha256: tuple[str, ...]  # of each image file as it lies on disk
    images: ByteArray  # (V, H, W, 3) RGB
    intrinsics: FloatArray  # (V, 3, 3), in pixels of `images`
    cam_to_world: FloatArray  # (V, 4, 4), OpenCV axes
    near: float  # in scene units, for the whole scene
    far: float
    masks: Masks | None = None
    depth: npt.NDArray[np.float32] | None = None  # (V, H, W), in scene units, where it is known
    source: Path = field(default_factory=Path)  # folder it was read from, for messages
