"""Where objects stand: apart from each other, inside the picture, some in front of others."""

import math

import numpy as np

from gsn.captures.capture import FloatArray
from gsn.captures.synthetic.cameras import Viewpoint

TRIES = 400
PATIENCE, SHRINK = 25, 0.93  # after so many attempts all things are made smaller by this
X_RANGE, Y_RANGE = (-3.3, 3.3), (-1.7, 2.3)  # of the places, in scene units
GAP = 0.12  # scene units between footprints
MARGIN = 0.13  # of the picture that the middle view keeps free: room for the other views
HIDDEN = 0.45  # no object may be hidden further than this, in the middle view
OVERLAP = 0.12  # and one at least must be hidden this far, if there are several


def draw_layout(
    rng: np.random.Generator,
    radii: FloatArray,  # (N,)
    heights: FloatArray,  # (N,)
    viewpoint: Viewpoint,
    aspect: float,
) -> tuple[list[tuple[float, float]], float]:
    """Draw places on the table for things of these footprints and heights, in scene units.

    Args:
        rng: Source of the places.
        radii: Of the footprints.
        heights: Above the table.
        viewpoint: Middle of the cameras, which must see them all.
        aspect: Height of the picture over its width.

    Returns:
        x, y of each thing, and the factor (1 if all goes well) by which all must be smaller.

    Raises:
        ValueError: There is no room for so many.
    """
    for attempt in range(TRIES):
        scale = SHRINK ** (attempt // PATIENCE)
        sizes = list(zip(radii * scale, heights * scale, strict=True))
        places = _scatter(rng, sizes, viewpoint, aspect)
        boxes = [
            _silhouette(viewpoint, place, radius, height)
            for place, (radius, height) in zip(places, sizes, strict=False)
        ]
        hidden = [_hidden_part(box, boxes) for box in boxes]
        if len(places) < len(sizes) or max(hidden) > HIDDEN:
            continue
        if len(boxes) == 1 or max(hidden) >= OVERLAP:
            return places, scale
    raise ValueError(
        f"{len(radii)} objects found no places on the table in {TRIES} attempts, in a picture of "
        f"height/width {aspect:.2f}; ask for fewer objects"
    )


def _scatter(
    rng: np.random.Generator,
    sizes: list[tuple[float, float]],
    viewpoint: Viewpoint,
    aspect: float,
) -> list[tuple[float, float]]:
    """Place things of these radii and heights where they are free and in the picture.

    The list is shorter than `sizes` if there was no room left.
    """
    places: list[tuple[float, float]] = []
    for radius, height in sizes:
        for _ in range(60):
            place = rng.uniform(*X_RANGE), rng.uniform(*Y_RANGE)
            apart = all(
                math.dist(place, other) > radius + beside + GAP
                for other, (beside, _) in zip(places, sizes, strict=False)
            )
            if apart and _inside(_silhouette(viewpoint, place, radius, height), aspect):
                places.append(place)
                break
        else:
            break
    return places


def _silhouette(
    viewpoint: Viewpoint, place: tuple[float, float], radius: float, height: float
) -> FloatArray:
    """Return left, top, right, bottom in image widths from the middle, and the depth, (5,)."""
    x, y = place
    foot, top = np.array([x, y, 0.0]), np.array([x, y, height])
    (u, bottom, depth), (_, upper, _) = (
        viewpoint.rotation.T @ (p - viewpoint.position) for p in (foot, top)
    )
    half = 0.8 * radius  # few shapes fill their footprint at all heights
    box = np.array([u - half, upper, u + half, bottom]) * viewpoint.focal / depth
    return np.append(box, depth)


def _inside(box: FloatArray, aspect: float) -> bool:
    half = (0.5 - MARGIN) * np.array([1.0, aspect])
    return bool((box[:2] >= -half).all() and (box[2:4] <= half).all())


def _hidden_part(box: FloatArray, others: list[FloatArray]) -> float:
    """Return the part of a silhouette behind nearer ones, counted on a grid of points."""
    x, y = np.meshgrid(np.linspace(box[0], box[2], 12), np.linspace(box[1], box[3], 12))
    covered = np.zeros_like(x, dtype=bool)
    for left, top, right, bottom, depth in others:
        if depth < box[4]:
            covered |= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return float(covered.mean())
