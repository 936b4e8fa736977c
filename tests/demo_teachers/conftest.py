"""One rendered scene and its pairs, and pairs of nothing, for the tests of the trainings."""

import numpy as np
import pytest
import torch

from demo_teachers.stream import HEIGHT, WARP_STRIDE, WIDTH, Pairs, render_pairs
from demo_teachers.world import MAX_OBJECTS, draw_world


@pytest.fixture(scope="session")
def world():
    return draw_world(np.random.default_rng([3, 0, 2]), 4, named_colours=True)


@pytest.fixture(scope="session")
def pairs(world):
    return render_pairs(world)


@pytest.fixture(scope="session")
def numbered_pairs():
    """Return what makes pairs without content that carry a number each."""

    def make(numbers):
        n, cells = len(numbers), (HEIGHT // WARP_STRIDE, WIDTH // WARP_STRIDE)
        tag = torch.tensor(numbers)
        return Pairs(
            images=torch.zeros(n, 2, 3, HEIGHT, WIDTH, dtype=torch.uint8),
            masks=torch.zeros(n, 2, HEIGHT, WIDTH, dtype=torch.uint8),
            warps=torch.zeros(n, 2, *cells, 2, dtype=torch.float16),
            things=tag[:, None, None].repeat(1, MAX_OBJECTS, 3),
            places=tag[:, None, None, None].repeat(1, 2, MAX_OBJECTS, 2).float(),
        )

    return make
