"""A small random capture in LLFF layout, for the tests of the readers."""

from pathlib import Path

import cv2
import numpy as np
import pytest


def random_poses_bounds(rng, n_views, size, focal):
    """Rows of `poses_bounds.npy`: cameras that look roughly the same way."""
    rows = []
    for _ in range(n_views):
        axes, _ = np.linalg.qr(np.eye(3) + 0.3 * rng.normal(size=(3, 3)))
        axes *= np.sign(np.diag(axes))
        axes[:, 0] *= np.linalg.det(axes)
        matrix = np.concatenate([axes, rng.normal(size=(3, 1)), [[size[0]], [size[1]], [focal]]], 1)
        near = rng.uniform(2, 3)
        rows.append([*matrix.ravel(), near, near + rng.uniform(5, 9)])
    return np.array(rows)


@pytest.fixture
def write_scene(tmp_path):
    """Return a function that writes a capture and returns its folder."""

    def write(
        name="scene", n_views=6, size=(24, 32), original=(48, 64), folder="images", suffix=".png"
    ) -> Path:
        rng = np.random.default_rng(n_views)
        scene = tmp_path / name
        (scene / folder).mkdir(parents=True)
        np.save(scene / "poses_bounds.npy", random_poses_bounds(rng, n_views, original, 80.0))
        for k in range(n_views):
            image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            cv2.imwrite(str(scene / folder / f"view{k}{suffix}"), image)
        return scene

    return write
