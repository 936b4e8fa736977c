"""Points seen in two photographs: SIFT (Lowe 2004), matched by descriptors, filtered by geometry.

No camera is used here, so that matches can judge cameras. Positions are on the image plane, whose
corner is (0, 0), as everywhere (`gsn.geometry.cameras`); OpenCV's are pixel indices.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from gsn.captures.capture import ByteArray, FloatArray

MOST_FEATURES = 3000  # of a photograph, the strongest
CONTRAST = 0.02  # half of OpenCV's: small photographs of plain objects have few points
RATIO = 0.8  # best to second best distance of descriptors, at most (Lowe 2004, section 7.1)
FEWEST_MATCHES = 8  # that tell a fundamental matrix from chance: it takes 7
# Share of the long side by which a match may miss its epipolar line: generous, for photographs
# with lens distortion fit a fundamental matrix only so far.
FILTER_TOLERANCE = 0.006
PIXEL_CENTRE = 0.5


@dataclass(frozen=True)
class Features:
    """What SIFT found in one photograph."""

    positions: FloatArray  # (N, 2), x and y on the image plane
    descriptors: npt.NDArray[np.float32]  # (N, 128), of unit length
    long_side_px: int  # of the photograph


def match_views(
    image_a: ByteArray,  # (H, W, 3)
    image_b: ByteArray,  # (h, w, 3)
) -> tuple[FloatArray, FloatArray]:  # (N, 2), (N, 2)
    """Return where the same N points lie in two photographs; N may be 0."""
    return match_features(find_features(image_a), find_features(image_b))


def find_features(
    image: ByteArray,  # (H, W, 3)
) -> Features:
    """Find the points of one photograph and describe them.

    Descriptors are compared by Hellinger's distance (RootSIFT, Arandjelović and Zisserman 2012).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # Without the precise upscale OpenCV places every point a quarter of a pixel aside.
    sift = cv2.SIFT.create(
        nfeatures=MOST_FEATURES, contrastThreshold=CONTRAST, enable_precise_upscale=True
    )
    keypoints, found = sift.detectAndCompute(grey, None)
    positions = np.array([point.pt for point in keypoints], dtype=np.float64).reshape(-1, 2)
    counts = np.zeros((0, 128), np.float32) if found is None else np.asarray(found, np.float32)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return Features(positions + PIXEL_CENTRE, np.sqrt(share), max(grey.shape))


def match_features(a: Features, b: Features) -> tuple[FloatArray, FloatArray]:  # (N, 2), (N, 2)
    """Match the points of two photographs.

    A match is the best of both its points and clearly better than the second best. Those that no
    single fundamental matrix explains are left out (RANSAC, always with the same random numbers).
    """
    of_a, of_b = _mutual_matches(a.descriptors, b.descriptors)
    in_a, in_b = a.positions[of_a], b.positions[of_b]
    if len(in_a) < FEWEST_MATCHES:
        return in_a[:0], in_b[:0]
    tolerance = FILTER_TOLERANCE * max(a.long_side_px, b.long_side_px)
    _, mask = cv2.findFundamentalMat(in_a, in_b, cv2.FM_RANSAC, tolerance, 0.9999, 2000)
    kept = np.zeros(len(in_a), bool) if mask is None else mask.ravel() > 0
    if kept.sum() < FEWEST_MATCHES:
        kept[:] = False
    return in_a[kept], in_b[kept]


def _mutual_matches(
    a: npt.NDArray[np.float32],  # (N, 128), of unit length
    b: npt.NDArray[np.float32],  # (M, 128)
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the indices of descriptors that are each other's best, and clearly so."""
    if min(len(a), len(b)) < 2:  # no second best to compare with
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    cosine = a @ b.T  # (N, M); the squared distance is 2 - 2 of it
    rows = np.arange(len(a))
    best = cosine.argmax(axis=1)
    mutual = cosine.argmax(axis=0)[best] == rows
    first = cosine[rows, best]
    cosine[rows, best] = -1.0
    second = cosine.max(axis=1)
    chosen = mutual & (1 - first < RATIO**2 * (1 - second))
    return rows[chosen], best[chosen]
