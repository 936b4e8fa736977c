"""Shared: small packs of noise, and a teacher whose features are seen by eye."""

import numpy as np
import pytest
import torch

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.geometry.cell_grid import CellGrid

PATCH = 4


class MeanColour:
    """The mean colour of each patch, and its square; remembers the sizes of its batches."""

    name = "fake"
    channels = 6
    trained = True

    def __init__(self, scale=1.0):
        self.fingerprint = {"name": "fake", "weights": {"trained": True}, "scale": scale}
        self.scale = scale
        self.batches = []

    def grid_size(self, height, width):
        return height // PATCH, width // PATCH

    def grid(self, height, width):
        return CellGrid.of_patches((PATCH, PATCH))

    def __call__(self, images):
        self.batches.append(tuple(images.shape))
        pooled = torch.nn.functional.avg_pool2d(images.permute(0, 3, 1, 2).float(), PATCH)
        colours = pooled.permute(0, 2, 3, 1) / 255 * self.scale
        return torch.cat([colours, colours**2], dim=-1)


def features_by_hand(image):
    """What `MeanColour` gives, a cell at a time."""
    rows, columns = image.shape[0] // PATCH, image.shape[1] // PATCH
    cells = np.empty((rows, columns, 6))
    for row in range(rows):
        for column in range(columns):
            patch = image[row * PATCH :, column * PATCH :][:PATCH, :PATCH].reshape(-1, 3) / 255
            cells[row, column] = [*patch.mean(axis=0), *patch.mean(axis=0) ** 2]
    return cells


@pytest.fixture(scope="session")
def by_hand():
    return features_by_hand


@pytest.fixture
def teacher():
    return MeanColour()


@pytest.fixture(scope="session")
def make_teacher():
    return MeanColour


@pytest.fixture
def make_pack(tmp_path):
    """Return what writes a pack with a view for each letter and gives its path and photographs."""

    def make(scene, views, held_out="", size=(8, 12), seed=0):
        rng = np.random.default_rng([seed, *scene.encode()])
        images = rng.integers(0, 256, (len(views), *size, 3), dtype=np.uint8)
        capture = Capture(
            name=scene,
            view_names=tuple(views),
            image_sha256=tuple(views),
            images=images,
            intrinsics=np.tile(np.eye(3), (len(views), 1, 1)),
            cam_to_world=np.tile(np.eye(4), (len(views), 1, 1)),
            near=1.0,
            far=2.0,
        )
        path = tmp_path / f"{scene}.h5"
        write_pack(path, capture, np.array([view in held_out for view in views]))
        return path, images

    return make
