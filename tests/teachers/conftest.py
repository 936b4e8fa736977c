"""Settings of a teacher, for the tests of every family."""

import numpy as np
import pytest
import torch

from gsn.teachers.teacher import ClipConfig, TeacherConfig, VitConfig


@pytest.fixture(scope="session")
def teacher_config():
    """Return what makes settings of a teacher, untrained unless told otherwise."""

    def make(
        name,
        weights="seeded",
        seed=0,
        long_side_px=None,
        layers=(-1,),
        facet="token",
        stride_px=None,
        mode="dense",
        window_px=(96,),
        window_stride_px=48,
        merge="mean",
        prompts=(),
    ):
        return TeacherConfig(
            name=name,
            weights=weights,
            seed=seed,
            long_side_px=long_side_px,
            vit=VitConfig(layers=list(layers), facet=facet, stride_px=stride_px),
            clip=ClipConfig(
                mode=mode,
                window_px=list(window_px),
                window_stride_px=window_stride_px,
                merge=merge,
            ),
            prompts=list(prompts),
        )

    return make


@pytest.fixture(scope="session")
def randomise():
    """Return what fills a network with seeded noise: the start of training has many zeros."""

    def fill(network, seed=0):
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, value in sorted(network.named_parameters()):
                noise = torch.randn(value.shape, generator=draw)
                value.copy_(0.5 * noise if value.ndim < 4 and "weight" not in name else noise / 20)
                if "norm" in name and name.endswith("weight"):
                    value.add_(1)
        return network.eval()

    return fill


@pytest.fixture(scope="session")
def photographs():
    """Return what makes a batch of noise."""

    def make(height, width, n=2, seed=0):
        draw = torch.Generator().manual_seed(seed)
        return torch.randint(256, (n, height, width, 3), generator=draw).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def normalised():
    """Return what normalises one photograph as published, in numpy: (1, 3, H, W) float32."""

    def prepare(photograph):
        mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
        values = (photograph.numpy().astype(np.float64) - mean) / std
        return torch.from_numpy(values.transpose(2, 0, 1)[None].astype(np.float32))

    return prepare


@pytest.fixture(scope="session")
def position_image():
    """Return what paints a photograph whose red is 2 · row and whose green is 2 · column."""

    def paint(height, width):
        rows, columns = np.mgrid[:height, :width] * 2
        image = np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
        return torch.from_numpy(image)[None]

    return paint


@pytest.fixture(scope="session")
def assert_marks_positions():
    """Return a check that cells of mean colours lie where the grid says, to 0.1 pixels."""

    def check(cells, grid, margin):  # (h, w, C), colours in [0, 255]; cells beside the border
        found = cells[..., :2] / 2
        for i in range(margin[0], len(cells) - margin[0]):
            for j in range(margin[1], cells.shape[1] - margin[1]):
                row = grid.first_px[0] + i * grid.step_px[0]
                column = grid.first_px[1] + j * grid.step_px[1]
                assert abs(found[i, j, 0] - row) < 0.1
                assert abs(found[i, j, 1] - column) < 0.1

    return check
