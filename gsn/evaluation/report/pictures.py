"""Pictures of a view: colours for features, depth, scores and masks. All are uint8 RGB."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from gsn.atomic import complete_or_absent
from gsn.checks import check_shape
from gsn.evaluation.report.outlines import OUTLINE, Mask, enlarge, inner_border

Picture = npt.NDArray[np.uint8]

STRETCH_PERCENT = (1.0, 99.0)  # of a component's values: what becomes black and full colour

HIT = (60, 190, 75)
FALSE_ALARM = (225, 50, 50)
MISS = (60, 110, 245)
OVERLAY_OPACITY = 0.65
UNKNOWN = (128, 128, 128)  # no depth, no score
DEPTH_COLOURS = cv2.COLORMAP_TURBO
SCORE_COLOURS = cv2.COLORMAP_VIRIDIS


@dataclass(frozen=True)
class FeatureColours:
    """One mapping from features to RGB for all maps of a scene, so that colours can be compared.

    The three main components of unit-length features, each stretched to the full range.
    """

    mean: Tensor  # (C,)
    components: Tensor  # (C, 3)
    low: Tensor  # (3,), value that becomes 0
    high: Tensor  # (3,), value that becomes 255

    @staticmethod
    def fit(
        maps: Sequence[Tensor],  # each (h, w, C)
    ) -> "FeatureColours":
        """Fit the mapping to some maps of a scene, such as the teacher's of its source views.

        The largest entry of each component is made positive, so that equal maps get equal colours
        wherever they are computed.

        Raises:
            ValueError: There is no map, or one with fewer than 3 or another number of channels.
        """
        if not maps:
            raise ValueError("maps: expected at least one feature map to fit colours to, got none")
        n_channels = maps[0].shape[-1]
        if n_channels < 3:
            raise ValueError(f"maps: expected at least 3 channels, got {n_channels}")
        for number, one in enumerate(maps):
            check_shape(f"maps[{number}]", one, f"h w {n_channels}")
        points = torch.cat([_unit(one).reshape(-1, n_channels) for one in maps])
        mean = points.mean(dim=0)
        centred = points - mean
        # eigh sorts upwards: the last three are the main ones.
        components = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -3:].flip(-1)
        largest = components.abs().argmax(dim=0)
        components = components * components[largest, torch.arange(3)].sign()
        values = (centred @ components).numpy()
        low, high = torch.from_numpy(np.percentile(values, STRETCH_PERCENT, axis=0))
        return FeatureColours(mean, components, low, high)

    def __call__(
        self,
        features: Tensor,  # (h, w, C)
    ) -> Picture:  # (h, w, 3)
        """Colour a map, rendered or the teacher's."""
        check_shape("features", features, f"h w {len(self.mean)}")
        values = (_unit(features) - self.mean) @ self.components
        span = (self.high - self.low).clamp_min(torch.finfo(torch.float32).eps)
        return to_picture((values - self.low) / span)


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.double().cpu(), dim=-1)


def to_picture(
    rgb: Tensor,  # (H, W, 3)
) -> Picture:  # (H, W, 3)
    """Turn colours in [0, 1] into bytes; what lies beyond is clipped."""
    check_shape("rgb", rgb, "H W 3")
    rounded = (rgb.double().clamp(0.0, 1.0) * 255.0).round()
    return rounded.cpu().numpy().astype(np.uint8)


def colour_depth(
    depth: Tensor,  # (H, W)
    near: float,
    far: float,
) -> Picture:  # (H, W, 3)
    """Colour a depth map by inverse depth, from red at `near` to blue at `far` (turbo).

    Pixels without a depth (not finite or not positive) are grey.

    Raises:
        ValueError: The depth is not a plane, or not 0 < near < far.
    """
    check_shape("depth", depth, "H W")
    if not 0.0 < near < far:
        raise ValueError(f"expected 0 < near < far, got near {near}, far {far}")
    values = depth.double().cpu().numpy()
    known = np.isfinite(values) & (values > 0.0)
    inverse = 1.0 / np.where(known, values, far)
    closeness = np.clip((inverse - 1.0 / far) / (1.0 / near - 1.0 / far), 0.0, 1.0)
    return _apply_colours(closeness, known, DEPTH_COLOURS)


def colour_scores(
    scores: npt.NDArray[np.float64],  # (h, w)
    low: float,
    high: float,
    threshold: float | None = None,
    scale: int = 1,
) -> Picture:  # (scale * h, scale * w, 3)
    """Colour a score map evenly from dark blue at `low` to yellow at `high` (viridis).

    With a threshold, what scores at least that is outlined in white, just inside its border.
    Pixels without a score (not finite) are grey.

    Raises:
        ValueError: The scores are not a plane, or not low <= high.
    """
    check_shape("scores", scores, "h w")
    if not low <= high:
        raise ValueError(f"expected low <= high, got low {low}, high {high}")
    known = np.isfinite(scores)
    span = max(high - low, np.finfo(np.float64).tiny)  # all scores of a map may be equal
    shares = (np.where(known, np.clip(scores, low, high), low) - low) / span
    picture = enlarge(_apply_colours(shares, known, SCORE_COLOURS), scale)
    if threshold is not None:
        picture[inner_border(enlarge(known & (scores >= threshold), scale))] = OUTLINE
    return picture


def _apply_colours(
    shares: npt.NDArray[np.float64],  # (H, W), in [0, 1]
    known: Mask,  # (H, W)
    colour_map: int,
) -> Picture:  # (H, W, 3)
    levels = np.round(shares * 255.0).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, colour_map), cv2.COLOR_BGR2RGB)
    colours[~known] = UNKNOWN
    return colours.astype(np.uint8)


def overlay_mask(
    photo: Picture,  # (H, W, 3)
    predicted: Mask,  # (H, W)
    truth: Mask,  # (H, W)
    scale: int = 1,
) -> Picture:  # (scale * H, scale * W, 3)
    """Lay a segmentation over a photo: hits green, false alarms red, misses blue.

    The true mask is outlined in white, just inside its border. In a small picture that hides much:
    `scale` makes every pixel a square before, see `drawing_scale`.
    """
    size = check_shape("photo", photo, "H W 3")
    check_shape("predicted", predicted, "H W", size)
    check_shape("truth", truth, "H W", size)
    predicted, truth = enlarge(predicted, scale), enlarge(truth, scale)
    painted = enlarge(photo, scale).astype(np.float64)
    for pixels, colour in (
        (predicted & truth, HIT),
        (predicted & ~truth, FALSE_ALARM),
        (truth & ~predicted, MISS),
    ):
        painted[pixels] += OVERLAY_OPACITY * (np.array(colour) - painted[pixels])
    painted[inner_border(truth)] = OUTLINE
    return np.round(painted).astype(np.uint8)


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture; `path` is complete or absent, whenever the process is killed."""
    check_shape("picture", picture, "H W 3")
    written, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not written:
        raise ValueError(f"{path}: OpenCV cannot encode a picture of shape {picture.shape} as PNG")
    with complete_or_absent(path) as partial:
        partial.write_bytes(data.tobytes())
