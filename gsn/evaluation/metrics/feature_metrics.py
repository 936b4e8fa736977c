"""How close a rendered feature map is to the teacher's own map of the true photo."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gsn.checks import check_shape


def score_features(
    rendered: Tensor,  # (h, w, C)
    teacher: Tensor,  # (h, w, C)
) -> dict[str, float]:
    """Compare two feature maps cell by cell, by direction alone.

    A zero vector has no direction and stays zero: its cosine with anything is 0 and its squared
    distance from a unit vector is 1 (from another zero vector 0), before the mean over channels.

    Returns:
        `feature_cosine`, the mean over cells of the cosine similarity, in [-1, 1]; and
        `feature_mse`, the mean over cells and channels of the squared difference of the
        unit-length vectors, in [0, 4 / C].

    Raises:
        ValueError: The maps differ in shape or have no cell.
    """
    size = check_shape("rendered", rendered, "h w C")
    check_shape("teacher", teacher, "h w C", size)
    if rendered.numel() == 0:
        raise ValueError(f"rendered: a map without cells, {tuple(rendered.shape)}, has no score")
    # Half-precision maps and 10⁴ cells: sum in double.
    unit_rendered = F.normalize(rendered.double(), dim=-1)
    unit_teacher = F.normalize(teacher.double(), dim=-1)
    return {
        "feature_cosine": float((unit_rendered * unit_teacher).sum(dim=-1).mean()),
        "feature_mse": float(torch.square(unit_rendered - unit_teacher).mean()),
    }
