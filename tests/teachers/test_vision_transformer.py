import numpy as np
import pytest
import torch
from torch import nn

from gsn.teachers.vision_transformer import VisionTransformerTeacher

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class MeanColours(nn.Module):
    """A stand-in whose token of a patch is the mean of what it is given there."""

    num_features = 3
    num_prefix_tokens = 1

    def __init__(self, patch):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.patch_size = (patch, patch)

    def forward_features(self, rgb):
        patch = self.patch_embed.patch_size[0]
        assert rgb.shape[2] % patch == rgb.shape[3] % patch == 0
        tokens = nn.functional.avg_pool2d(rgb, patch).flatten(2).transpose(1, 2)
        return torch.cat([torch.full_like(tokens[:, :1], 1e6), tokens], dim=1)


@pytest.fixture
def teacher():
    return VisionTransformerTeacher(
        "means", MeanColours(4), {"trained": True}, torch.device("cpu"), {}
    )


def mean_colours_by_loop(image, patch):
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    out = np.zeros((rows, columns, 3))
    for i in range(rows):
        for j in range(columns):
            cell = image[i * patch : (i + 1) * patch, j * patch : (j + 1) * patch]
            out[i, j] = ((cell / 255.0 - MEAN) / STD).mean(axis=(0, 1))
    return out


@pytest.mark.parametrize("size", [(12, 20), (15, 21)])
def test_cells_show_their_patch_normalised_and_rest_pixels_are_dropped(teacher, size):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    got = teacher(torch.from_numpy(images)).numpy()
    assert got.shape == (2, 3, 5, 3) == (2, *teacher.grid_size(*size), teacher.channels)
    for image, one in zip(images, got, strict=True):
        np.testing.assert_allclose(one, mean_colours_by_loop(image, 4), atol=1e-5)


def test_cell_centres_are_the_mean_pixel_of_each_patch(teacher):
    grid = teacher.grid(15, 21)
    assert (grid.first_px, grid.step_px) == ((1.5, 1.5), (4, 4))  # pixels 0 to 3, then 4 to 7


def test_images_that_are_not_bytes_or_too_small_are_refused(teacher):
    with pytest.raises(ValueError, match="expected uint8"):
        teacher(torch.zeros(1, 8, 8, 3))
    with pytest.raises(ValueError, match="3×9 pixels is smaller than one patch of 4×4"):
        teacher(torch.zeros(1, 3, 9, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="expected shape"):
        teacher(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_the_network_is_frozen():
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))
    network.num_features = 2
    network.patch_embed = nn.Module()
    network.patch_embed.patch_size = (4, 4)
    VisionTransformerTeacher("any", network, {"trained": False}, torch.device("cpu"), {})
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
