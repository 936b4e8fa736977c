import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from gsn.evaluation.segmentation.centroids import Centroids, score_map
from gsn.evaluation.segmentation.colour import colour_features


def random_colours(seed, n=400):
    return torch.rand(1, n, 3, generator=torch.Generator().manual_seed(seed))


def ranks(values):
    return np.asarray(values).argsort().argsort()


def test_features_are_of_unit_length_for_all_colours():
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)[None]
    for rgb in (corners, random_colours(0)):
        features = colour_features(rgb)
        assert features.shape == (1, rgb.shape[1], 4) and features.dtype == torch.float32
        assert features.isfinite().all()
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(1, rgb.shape[1]))


def test_middle_grey_is_the_pole():
    grey = 0.4663266  # of L* = 50
    torch.testing.assert_close(
        colour_features(torch.full((1, 1, 3), grey))[0, 0],
        torch.tensor([0.0, 0.0, 0.0, 1.0]),
        atol=1e-4,
        rtol=0,
    )


def test_greys_of_different_lightness_differ_the_more_the_farther_they_are():
    greys = torch.linspace(0, 1, 6)[None, :, None].expand(1, 6, 3)
    features = colour_features(greys)
    distances = 1 - (features @ features[:, :1].transpose(1, 2))[0, :, 0]
    assert distances[0].abs() < 1e-6
    assert (distances.diff() > 0.005).all()
    # Black and white are 100 apart in L*, symmetric about the pole: 1 - cos = 2 (50 / 200)².
    assert distances[-1].item() == pytest.approx(2 * 0.25**2, abs=1e-5)


def test_cosine_distance_ranks_pairs_of_colours_as_their_distance_in_lab():
    first, second = random_colours(1), random_colours(2)
    lab = np.linalg.norm(rgb2lab(first.numpy()) - rgb2lab(second.numpy()), axis=-1)[0]
    cosine = 1 - (colour_features(first) * colour_features(second)).sum(dim=-1)[0]
    assert np.corrcoef(ranks(lab), ranks(cosine.numpy()))[0, 1] > 0.998
    close = (first + 0.02 * torch.randn(1, 400, 3, generator=torch.manual_seed(0))).clamp(0, 1)
    lab = np.linalg.norm(rgb2lab(first.numpy()) - rgb2lab(close.numpy()), axis=-1)[0]
    cosine = 1 - (colour_features(first) * colour_features(close)).sum(dim=-1)[0]
    assert np.corrcoef(ranks(lab), ranks(cosine.numpy()))[0, 1] > 0.99


def test_both_distances_rank_colours_alike():
    features = colour_features(random_colours(3))
    centroid = features[0, :1].double()
    cosine = score_map(features, Centroids(centroid, "cosine"))
    squared = score_map(features, Centroids(centroid, "squared"))
    # |f - g|² = 2 (1 - cos), over four channels.
    np.testing.assert_allclose(squared, cosine * 2 / 4, atol=1e-6)


def test_an_image_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"rgb: expected shape \(H W 3\), got \(3, 4, 5\)"):
        colour_features(torch.zeros(3, 4, 5))
