"""A stroke inside an object, such as a person would draw to point at it, made from its mask."""

import cv2
import numpy as np
import numpy.typing as npt
from skimage.graph import MCP_Geometric
from skimage.morphology import skeletonize

from gsn.checks import check_shape
from gsn.evaluation.prompts.rasterise import thicken

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.intp]  # (n, 2) row, column

FAR_SHARE = 0.8  # of the longest way: pixels at least so far may be an end of the way
LEAST_SHARE = 0.4  # of the way from end to end: at least so much is drawn


def draw_stroke(
    mask: Mask,  # (H, W)
    seed: int,
    width_px: int,
) -> Mask:  # (H, W)
    """Draw one line along the middle of the largest part of an object.

    The mask is eroded by the width of the line (by less where the object is thin), and of what is
    left the largest part is thinned to its skeleton. The seed picks two far ends of the skeleton,
    and of the shortest way between them a stretch of 40 to 100 %, so that even on a bar one seed
    draws another line than the next. A skeleton that is shorter than the object is wide (a disc's
    is a point) leads nowhere: there the way goes over the eroded mask, the cheaper the farther
    from its border.

    Args:
        mask: The object.
        seed: Of the choice of the ends and of the stretch.
        width_px: Width of the line; where the object is narrower the line is too.

    Returns:
        The pixels of the line, connected, inside the object, at least one.

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
    way = _stretch(_long_way(_costs(padded, width_px), rng), rng)
    line = np.zeros(padded.shape, np.bool_)
    line[way[:, 0], way[:, 1]] = True
    return _part_at(thicken(line, width_px) & padded, way[0])[1:-1, 1:-1]


def _costs(
    mask: Mask,  # (H, W)
    erosion_px: int,
) -> FloatArray:  # (H, W)
    """Return what a step costs at each pixel where a stroke may run; elsewhere infinity."""
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    deepest = float(depth.max())
    # Masks are least certain at the border; but nothing would be left of a thin object.
    interior = _largest_part(depth > min(float(erosion_px), 0.5 * deepest))
    skeleton = skeletonize(interior)
    if skeleton.sum() >= 2 * deepest:
        return np.where(skeleton, 1.0, np.inf)
    return np.where(interior, 1.0 / np.maximum(depth, 1.0), np.inf)


def _long_way(
    costs: FloatArray,  # (H, W)
    rng: np.random.Generator,
) -> Pixels:
    """Find the cheapest way between two pixels that are far from each other."""
    graph = MCP_Geometric(costs)
    somewhere = rng.choice(np.argwhere(np.isfinite(costs)))
    prices, _ = graph.find_costs([somewhere])
    prices, _ = graph.find_costs([_far_pixel(prices, rng)])
    return np.asarray(graph.traceback(_far_pixel(prices, rng)), np.intp)


def _far_pixel(
    prices: FloatArray,  # (H, W)
    rng: np.random.Generator,
) -> Pixels:  # (2,)
    """Pick one of the pixels that are farthest to reach."""
    longest = prices[np.isfinite(prices)].max()
    pixel: Pixels = rng.choice(np.argwhere(np.isfinite(prices) & (prices >= FAR_SHARE * longest)))
    return pixel


def _stretch(way: Pixels, rng: np.random.Generator) -> Pixels:
    """Pick a part of a way, at least one pixel."""
    length = max(1, round(rng.uniform(LEAST_SHARE, 1.0) * len(way)))
    first = int(rng.integers(len(way) - length + 1))
    return way[first : first + length]


def _largest_part(mask: Mask) -> Mask:
    """Keep the largest of the connected parts; of equals the first in reading order."""
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    return np.asarray(labels == np.argmax(sizes))


def _part_at(mask: Mask, pixel: Pixels) -> Mask:
    """Keep the connected part that a pixel belongs to: a thick line may spill over a gap."""
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    return np.asarray(labels == labels[pixel[0], pixel[1]])
