import numpy as np
import pytest
import torch

from demo_teachers.held_out import (
    HELD_OUT,
    LabelledScene,
    at_pixels,
    colour_features,
    held_out_scenes,
    iou,
    smooth_colour_features,
)
from demo_teachers.label_transfer import label_transfer_miou
from gsn.geometry.cell_grid import CellGrid


def scene_of(masks):
    """A scene whose pictures are its masks: colour k for object k."""
    masks = [np.asarray(mask, dtype=np.uint8) for mask in masks]
    images = [np.repeat(mask[..., None], 3, axis=2) for mask in masks]
    return LabelledScene(images, masks, ("one", "two", "three"))


@pytest.fixture(scope="module")
def scene():
    """Three views of three boxes that move to the right."""
    masks = np.zeros((3, 48, 64), np.uint8)
    for view in range(3):
        for k in range(3):
            column = 4 + 18 * k + 3 * view
            masks[view, 12:36, column : column + 12] = k + 1
    return scene_of(masks)


def one_hot(image):
    return torch.nn.functional.one_hot(torch.from_numpy(image[..., 0]).long(), 4).float()


def test_features_that_are_the_labels_carry_them_without_fault(scene):
    assert label_transfer_miou([scene, scene], one_hot) == 1


def test_features_that_are_all_alike_carry_little(scene):
    assert label_transfer_miou([scene], lambda image: torch.ones(*image.shape[:2], 2)) < 0.15


def test_what_features_confuse_is_lost_to_both(scene):
    def blind(image):  # sees no difference between the second object and the third
        found = one_hot(image)
        found[..., 2] += found[..., 3]
        return found[..., :3]

    # Equal areas: who is called by the name of both has half of the union, the other nothing;
    # where neighbours disagree, in between.
    got = label_transfer_miou([scene], blind)
    assert (1 + 0 + 0.3) / 3 < got < (1 + 0.5 + 0.5) / 3


def test_the_labelled_view_is_not_scored():
    masks = np.zeros((3, 40, 40), np.uint8)
    masks[:, :20, :20], masks[:, 20:, 20:] = 1, 2
    looks = masks.copy()
    looks[0, :20, :20], looks[0, 20:, 20:] = 2, 1  # elsewhere each looks like the other
    looks[2] = looks[0]
    scene = scene_of(looks)
    confusing = LabelledScene(scene.images, list(masks), scene.captions)
    assert label_transfer_miou([confusing], one_hot) == 0


def test_objects_too_small_in_the_labelled_view_or_absent_in_another_do_not_count():
    masks = np.zeros((3, 40, 40), np.uint8)
    masks[:, :20, :20] = 1
    masks[1, 30:40, 30:40] = 2  # shown in the middle view alone
    masks[:, 30:34, :4] = 3  # of 16 pixels

    def features(image):  # the third object looks like the background
        return one_hot(np.where(image == 3, 0, image))

    assert label_transfer_miou([scene_of(masks)], features) == 1


def test_intersection_over_union_matches_hand_calculation():
    predicted = torch.tensor([True, True, False, True])
    truth = torch.tensor([True, False, True, True])
    assert iou(predicted, truth) == 0.5


def test_a_map_is_fetched_by_position():
    # Rows of cells 4 pixels apart, the first at 1; columns 2 apart, the first at 0.5.
    map_ = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0))
    got = at_pixels(map_, CellGrid((1.0, 0.5), (4.0, 2.0)), 12, 8)
    torch.testing.assert_close(got[5, 2], map_[1, 0] * 0.25 + map_[1, 1] * 0.75)
    torch.testing.assert_close(got[3, 0], map_[0, 0] * 0.5 + map_[1, 0] * 0.5)  # beyond the first
    torch.testing.assert_close(got[11, 7], map_[2, 3])
    assert got.shape == (12, 8, 2)


def test_colours_are_the_baselines():
    image = np.random.default_rng(0).integers(256, size=(16, 24, 3), dtype=np.uint8)
    torch.testing.assert_close(
        colour_features(image)[3, 5], torch.tensor(image[3, 5] / 255).float()
    )
    smooth = smooth_colour_features(image)
    corners = [
        torch.tensor(image[:8, :8].mean(axis=(0, 1)) / 255).float(),
        torch.tensor(image[8:, 16:].mean(axis=(0, 1)) / 255).float(),
    ]
    torch.testing.assert_close(smooth[0, 0], corners[0])
    torch.testing.assert_close(smooth[15, 23], corners[1])
    # Middles of cells lie at 3.5 and 11.5.
    blocks = image.reshape(2, 8, 3, 8, 3).mean(axis=(1, 3)) / 255
    expected = blocks[0, 0] * 15 / 16 + blocks[0, 1] / 16
    torch.testing.assert_close(smooth[0, 4], torch.tensor(expected).float())


def test_held_out_scenes_are_fixed_and_labelled():
    (one,), (again,), (other,) = (held_out_scenes(1), held_out_scenes(1), held_out_scenes(1, "x"))
    assert len(one.images) == len(one.masks) == HELD_OUT.n_views
    assert 4 <= len(one.captions) <= 7
    assert max(mask.max() for mask in one.masks) == len(one.captions)
    assert one.captions == again.captions != other.captions
    assert np.array_equal(one.images[3], again.images[3])
    assert not np.array_equal(one.images[3], other.images[3])
