import numpy as np
import pytest
import torch

from gsn.geometry.cell_grid import CellGrid
from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

CPU = torch.device("cpu")


def test_values_are_normalised_colour_by_colour(photographs):
    images = photographs(5, 7)
    got = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None)(images, CPU).numpy()
    assert got.shape == (2, 3, 5, 7)
    for colour in range(3):
        share = images.numpy()[..., colour] / 255
        expected = (share - IMAGENET_MEAN[colour]) / IMAGENET_STD[colour]
        np.testing.assert_allclose(got[:, colour], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("long_side_px", "size", "expected"),
    [(None, (30, 40), (30, 40)), (80, (30, 40), (60, 80)), (20, (30, 40), (15, 20)),
     (50, (61, 83), (37, 50)), (4, (1, 100), (1, 4))],
)  # fmt: skip
def test_the_long_side_is_as_asked_and_the_other_in_proportion(long_side_px, size, expected):
    preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, long_side_px)
    assert preprocessing.size(*size) == expected
    image = torch.zeros(1, *size, 3, dtype=torch.uint8)
    assert preprocessing(image, CPU).shape == (1, 3, *expected)


def halved_by_loop(values):
    """Bilinear with a low-pass, in one dimension: weights 1 3 3 1, fewer at the borders."""
    halved = []
    for cell in range(len(values) // 2):
        near = [(2 * cell + k, (1, 3, 3, 1)[k + 1]) for k in (-1, 0, 1, 2)]
        inside = [(values[at], weight) for at, weight in near if 0 <= at < len(values)]
        halved.append(sum(v * w for v, w in inside) / sum(w for _, w in inside))
    return halved


def test_bilinear_halving_weighs_the_four_nearest_pixels(photographs):
    images = photographs(8, 12)
    preprocessing = Preprocessing((0.0,) * 3, (1.0,) * 3, 6, resample="bilinear")
    got = preprocessing(images, CPU)
    rows = np.apply_along_axis(halved_by_loop, 1, images.numpy() / 255)
    expected = np.apply_along_axis(halved_by_loop, 2, rows)
    np.testing.assert_allclose(got.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    smooth = Preprocessing((0.0,) * 3, (1.0,) * 3, 6)(images, CPU)
    assert not torch.allclose(got, smooth, atol=1e-2)  # bicubic, unless told otherwise


def test_bicubic_overshoot_is_cut_to_the_range_of_colours():
    image = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    image[:, :, 4:] = 255
    got = Preprocessing((0.0,) * 3, (1.0,) * 3, 16)(image, CPU)
    assert got.min() == 0 and got.max() == 1


def test_grids_are_carried_back_to_the_photograph():
    preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 80)
    grid = preprocessing.grid(CellGrid.of_patches((8, 8)), 30, 40)
    assert (grid.first_px, grid.step_px) == ((1.5, 1.5), (4, 4))
    unchanged = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None)
    assert unchanged.grid(grid, 30, 40) == grid


def test_images_of_another_kind_are_refused():
    preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None)
    with pytest.raises(ValueError, match="expected uint8"):
        preprocessing(torch.zeros(1, 8, 8, 3), CPU)
    with pytest.raises(ValueError, match="expected shape"):
        preprocessing(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), CPU)


def test_the_description_names_every_setting():
    described = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 80).describe()
    assert described == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "long_side_px": 80,
        "remainder": "dropped at the bottom and on the right",
        "resample": "bicubic",
    }
