import numpy as np
import pytest
import torch

from gsn.evaluation.segmentation.box import find_in_box

GROUND, OTHER, OBJECT = torch.eye(3)


def view_with(rows, columns, feature=OBJECT, noise=0.05):
    features = GROUND.expand(12, 16, 3).clone()
    features[:, 12:] = OTHER
    features[rows, columns] = feature
    draw = torch.Generator().manual_seed(0)
    return features + noise * torch.randn(features.shape, generator=draw)


def box_of(rows, columns):
    box = np.zeros((12, 16), bool)
    box[rows, columns] = True
    return box


@pytest.mark.parametrize("metric", ["cosine", "squared"])
def test_what_looks_like_nothing_outside_is_the_object(metric):
    place = slice(3, 8), slice(5, 10)
    box = box_of(slice(2, 10), slice(3, 14))  # holds both kinds of ground
    found = find_in_box(view_with(*place), box, 4, 0, metric)
    np.testing.assert_array_equal(found, box_of(*place))


def test_a_box_in_which_nothing_stands_out_is_taken_whole():
    box = box_of(slice(2, 6), slice(3, 8))
    features = GROUND.expand(12, 16, 3)
    np.testing.assert_array_equal(find_in_box(features, box, 4, 0, "cosine"), box)


def test_nothing_beyond_the_box_is_found():
    features = view_with(slice(3, 8), slice(5, 10))
    features[11, 0] = OBJECT  # one pixel among many of a cluster
    box = box_of(slice(2, 10), slice(3, 12))
    assert not find_in_box(features, box, 2, 0, "cosine")[~box].any()


def test_a_box_without_outside_is_refused():
    with pytest.raises(ValueError, match="no pixel is set"):
        find_in_box(view_with(3, 5), np.ones((12, 16), bool), 2, 0, "cosine")
