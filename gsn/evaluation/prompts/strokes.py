"""A stroke inside an object, such as a person would draw to point at it, made from its mask."""

import heapq
import math

import cv2
import numpy as np
import numpy.typing as npt

from gsn.checks import check_shape

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

FAR_SHARE = 0.2  # of an object's pixels, the farthest: where a stroke may start and end


def draw_stroke(
    mask: Mask,  # (H, W)
    seed: int,
    width_px: int,
) -> Mask:  # (H, W)
    """Draw one line through the largest part of an object, from one far end to another.

    It runs where the object is wide, as far from the border as the way allows, and no pixel of it
    leaves the object. A different seed gives other ends.

    Args:
        mask: The object.
        seed: Of the choice of the ends.
        width_px: Width of the line; where the object is narrower the line is too.

    Returns:
        The pixels of the line, at least one.

    Raises:
        ValueError: The mask is empty or not a plane of booleans, or the width is below 1.
    """
    check_shape("mask", mask, "H W")
    if mask.dtype != np.bool_:
        raise ValueError(f"mask: expected a boolean array, got {mask.dtype}")
    if width_px < 1:
        raise ValueError(f"width_px: expected at least 1, got {width_px}")
    if not mask.any():
        raise ValueError("mask: no pixel is set; there is nothing to draw a stroke in")
    rng = np.random.default_rng(seed)
    padded = np.pad(mask, 1)  # beyond the picture is outside the object, too
    depth = cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Keep away from the border, where masks are least certain, but not off a thin object.
    interior = _largest_part(depth > min(float(width_px), 0.5 * float(depth.max())))
    cost = np.where(interior, 1.0 / np.maximum(depth, 1.0), np.inf).astype(np.float64)
    price, _ = _walk(cost, int(rng.choice(np.flatnonzero(interior))))
    price, came_from = _walk(cost, _far_pixel(price, rng))
    line = np.zeros(padded.size, np.uint8)
    line[_way_back(came_from, _far_pixel(price, rng))] = 1
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width_px, width_px))
    drawn = (cv2.dilate(line.reshape(padded.shape), pen) > 0) & padded
    return np.asarray(drawn[1:-1, 1:-1])


def _largest_part(mask: Mask) -> Mask:
    """Keep the largest of the connected parts; of equals the first in reading order."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    return np.asarray(labels == np.argmax(sizes))


def _walk(
    cost: FloatArray,  # (H, W), infinite along the border of the picture
    start: int,
) -> tuple[FloatArray, dict[int, int]]:
    """Find the cheapest way from `start` to every pixel of finite cost (Dijkstra).

    Pixels are counted in reading order. A step costs its length times the mean cost of its ends.

    Returns:
        The price of the way to each pixel, flat, infinite where there is none; and for each pixel
        reached the one before it.
    """
    width = cost.shape[1]
    steps = [
        (d_row * width + d_column, math.hypot(d_row, d_column) / 2)
        for d_row in (-1, 0, 1)
        for d_column in (-1, 0, 1)
        if d_row or d_column
    ]
    costs: list[float] = cost.ravel().tolist()  # single numbers are far faster out of a list
    price = [math.inf] * len(costs)
    price[start] = 0.0
    came_from: dict[int, int] = {}
    frontier = [(0.0, start)]
    while frontier:
        so_far, here = heapq.heappop(frontier)
        if so_far > price[here]:
            continue
        for offset, half_length in steps:
            there = here + offset
            total = so_far + half_length * (costs[here] + costs[there])
            if total < price[there]:
                price[there] = total
                came_from[there] = here
                heapq.heappush(frontier, (total, there))
    return np.array(price), came_from


def _far_pixel(price: FloatArray, rng: np.random.Generator) -> int:
    """Pick one of the pixels that are farthest to reach."""
    reached = np.flatnonzero(np.isfinite(price))
    farthest_first = reached[np.argsort(-price[reached], kind="stable")]
    return int(rng.choice(farthest_first[: max(1, int(FAR_SHARE * len(reached)))]))


def _way_back(came_from: dict[int, int], end: int) -> list[int]:
    """List the pixels from `end` back to where the walk began."""
    way = [end]
    while way[-1] in came_from:
        way.append(came_from[way[-1]])
    return way
