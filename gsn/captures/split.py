"""Which views of a capture are kept from training."""

import numpy as np
import numpy.typing as npt

from gsn.captures.capture import Capture, CaptureError

FEWEST_TRAINING_VIEWS = 2  # a target and a source view


def hold_out(capture: Capture, hold: int) -> npt.NDArray[np.bool_]:  # (V,)
    """Keep every `hold`-th view from training, starting with the first in name order.

    Raises:
        CaptureError: Too few views are left to train on.
    """
    held_out: npt.NDArray[np.bool_] = np.arange(len(capture.view_names)) % hold == 0
    n_training = int((~held_out).sum())
    if n_training < FEWEST_TRAINING_VIEWS:
        raise CaptureError(
            f"{capture.source}: hold {hold} leaves {n_training} of {len(held_out)} views for "
            f"training, expected at least {FEWEST_TRAINING_VIEWS}: hold out fewer views"
        )
    return held_out
