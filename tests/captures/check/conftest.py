"""A rendered capture, whose cameras are exact, and what copies it and spoils the copy."""

import shutil

import numpy as np
import pytest

from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.write import write_synthetic_capture


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """8 views of 256 × 192 pixels, 60 matches or more in each, without masks and depth."""
    folder = tmp_path_factory.mktemp("rendered") / "tabletop"
    cfg = SyntheticConfig(
        seed=0,
        n_views=8,
        width_px=256,
        height_px=192,
        min_objects=4,
        max_objects=5,
        samples_per_side=1,
        baseline=0.1,
    )
    write_synthetic_capture(folder, "tabletop_0", cfg)
    shutil.rmtree(folder / "masks")
    shutil.rmtree(folder / "depth")
    return folder


@pytest.fixture
def copy(rendered, tmp_path):
    """Return what copies the rendered capture to a folder below `tmp_path / "captures"`."""

    def make(name="scene"):
        target = tmp_path / "captures" / name
        shutil.copytree(rendered, target)
        return target

    return make


@pytest.fixture
def change_rows(copy):
    """Return what copies the capture with other rows of `poses_bounds.npy`."""

    def make(change, name="scene"):
        folder = copy(name)
        np.save(folder / "poses_bounds.npy", change(np.load(folder / "poses_bounds.npy")))
        return folder

    return make
