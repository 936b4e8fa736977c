import numpy as np
import pytest
import torch

from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.llff import read_llff
from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.write import write_synthetic_capture

V, H, W = 3, 36, 48


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A rendered scene, read back: poses, depth and images that belong together."""
    torch.set_num_threads(2)
    folder = tmp_path_factory.mktemp("captures") / "table"
    cfg = SyntheticConfig(
        seed=3,
        n_views=V,
        width_px=W,
        height_px=H,
        min_objects=2,
        max_objects=2,
        samples_per_side=2,
        baseline=0.25,
    )
    write_synthetic_capture(folder, "table", cfg)
    return read_llff(folder, ReadConfig(1, None, 0.9, 1.6, 0.0))


def carry_over(capture, source, target):
    """Project every pixel of one view, at its depth, into another: (u, v, z) in pixel indices."""
    v, u = np.mgrid[0:H, 0:W] + 0.5
    rays = np.linalg.inv(capture.intrinsics[source]) @ np.stack([u, v, np.ones_like(u)]).reshape(
        3, -1
    )
    points = np.vstack([rays * capture.depth[source].ravel(), np.ones((1, H * W))])
    world = capture.cam_to_world[source] @ points
    x, y, z = (np.linalg.inv(capture.cam_to_world[target]) @ world)[:3]
    pixels = capture.intrinsics[target] @ np.stack([x / z, y / z, np.ones_like(z)])
    return pixels[0] - 0.5, pixels[1] - 0.5, z


def test_depth_of_one_view_is_found_again_in_another(capture):
    for source, target in ((0, 1), (1, 2), (2, 0)):
        u, v, z = carry_over(capture, source, target)
        inside = (u > 0) & (u < W - 1) & (v > 0) & (v < H - 1)
        assert inside.mean() > 0.5
        columns, rows = np.rint(u[inside]).astype(int), np.rint(v[inside]).astype(int)
        seen = capture.depth[target][rows, columns]
        visible = z[inside] < 1.05 * seen  # not hidden by something nearer
        assert visible.mean() > 0.8
        error = np.abs(z[inside] / seen - 1)[visible]
        assert np.median(error) < 0.01
        # The check has teeth: pixels move, and depth is no constant.
        rows_before, columns_before = np.mgrid[0:H, 0:W].reshape(2, -1)[:, inside]
        moved = np.hypot(u[inside] - columns_before, v[inside] - rows_before)
        assert np.median(moved) > 2
        assert np.std(seen) / np.mean(seen) > 0.1


def test_colours_of_one_view_are_found_again_in_another(capture):
    u, v, z = carry_over(capture, 0, 1)
    inside = (u > 0) & (u < W - 1) & (v > 0) & (v < H - 1)
    columns, rows = np.rint(u[inside]).astype(int), np.rint(v[inside]).astype(int)
    visible = z[inside] < 1.05 * capture.depth[1][rows, columns]
    colours = capture.images[0].reshape(-1, 3)[inside][visible].astype(float)
    carried = np.abs(colours - capture.images[1][rows, columns][visible]).mean()
    in_place = np.abs(colours - capture.images[1].reshape(-1, 3)[inside][visible]).mean()
    assert carried < 0.4 * in_place


def test_the_depth_range_holds_what_the_views_see(capture):
    assert capture.near == pytest.approx(1.2)
    inside = (capture.depth >= capture.near) & (capture.depth <= capture.far)
    assert inside.mean() > 0.99
