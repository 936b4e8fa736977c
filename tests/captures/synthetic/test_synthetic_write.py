import hashlib
import itertools
import json

import cv2
import numpy as np
import pytest
import torch

from gsn.captures.synthetic.config import SyntheticConfig
from gsn.captures.synthetic.draw import draw_scene
from gsn.captures.synthetic.write import write_synthetic_capture

CONFIG = SyntheticConfig(
    seed=5,
    n_views=6,
    width_px=64,
    height_px=48,
    min_objects=4,
    max_objects=6,
    samples_per_side=2,
    baseline=0.03,
)
NAMES = ("desk", "shelf", "bench")


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    for name in NAMES:
        write_synthetic_capture(folder / name, name, CONFIG)
    return folder


def digests(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def views(folder, part, read):
    return np.stack([read(path) for path in sorted((folder / part).glob("view_*"))])


def read_masks(folder):
    return views(folder, "masks", lambda path: cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def read_depth(folder):
    return views(folder, "depth", np.load)


def opencv_cameras(folder):
    """Read poses as spec 2.1 says: columns down, right, backward, centre, (h, w, f)."""
    for row in np.load(folder / "poses_bounds.npy"):
        down, right, backward, centre, (_, _, focal) = row[:15].reshape(3, 5).T
        yield np.stack([right, down, -backward], axis=1), centre, focal


def bilinear(image, u, v):
    """Interpolate at pixel-index coordinates that lie inside the image."""
    i, j = np.floor(v).astype(int), np.floor(u).astype(int)
    a, b = v - i, u - j
    top = image[i, j] * (1 - b) + image[i, j + 1] * b
    return top * (1 - a) + (image[i + 1, j] * (1 - b) + image[i + 1, j + 1] * b) * a


def test_the_same_seed_and_name_write_the_same_bytes(captures, tmp_path):
    write_synthetic_capture(tmp_path / "again", "desk", CONFIG, on_view=(seen := []).append)
    assert digests(tmp_path / "again") == digests(captures / "desk")
    assert seen == list(range(6))


def test_another_name_is_another_scene(captures):
    a, b = digests(captures / "desk"), digests(captures / "shelf")
    assert a.keys() == b.keys()
    assert all(a[path] != b[path] for path in a)


def test_the_layout_is_that_of_an_llff_capture(captures):
    stems = [f"view_{k:03d}" for k in range(6)]
    expected = {f"images/{s}.png" for s in stems} | {f"masks/{s}.png" for s in stems}
    expected |= {f"depth/{s}.npy" for s in stems} | {"masks/labels.json", "poses_bounds.npy"}
    assert set(digests(captures / "desk")) == expected
    image = cv2.imread(str(captures / "desk/images/view_000.png"), cv2.IMREAD_UNCHANGED)
    assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
    masks, depth = read_masks(captures / "desk"), read_depth(captures / "desk")
    rows = np.load(captures / "desk/poses_bounds.npy")
    assert (masks.shape, depth.shape, rows.shape) == ((6, 48, 64), (6, 48, 64), (6, 17))
    assert (masks.dtype, depth.dtype, rows.dtype) == (np.uint8, np.float32, np.float64)


@pytest.mark.parametrize("name", NAMES)
def test_near_is_before_far_and_between_them_lies_nearly_all_depth(captures, name):
    depth = read_depth(captures / name)
    assert np.isfinite(depth).all()
    for row, view in zip(np.load(captures / name / "poses_bounds.npy"), depth, strict=True):
        near, far = row[15:]
        assert 0 < near < far
        assert ((view >= near) & (view <= far)).mean() > 0.99


def lift(depth, camera):
    """Bring every pixel of a view to world space by its depth, (H, W, 3)."""
    rotation, centre, focal = camera
    v, u = np.mgrid[:48, :64]
    rays = np.stack([(u + 0.5 - 32) / focal, (v + 0.5 - 24) / focal, np.ones(u.shape)], -1)
    return centre + (rays * depth[..., None]) @ rotation.T


def find(world, camera):
    """Return pixel-index column and row, and depth, of world points in a view."""
    rotation, centre, focal = camera
    x, y, z = np.moveaxis((world - centre) @ rotation, -1, 0)
    return x / z * focal + 32 - 0.5, y / z * focal + 24 - 0.5, z


def away_from_edges(depth):
    """Tell where the depth around a pixel is smooth.

    Inverse depth is linear in the picture of a plane: where it bends sharply there is an edge.
    """
    bend = np.abs(cv2.Laplacian(1 / depth, cv2.CV_64F)) * depth
    return cv2.dilate(bend, np.ones((3, 3))) < 0.015


@pytest.mark.parametrize("name", NAMES)
def test_a_point_seen_in_one_view_is_found_by_its_depth_in_another(captures, name):
    cameras = list(opencv_cameras(captures / name))
    depth = read_depth(captures / name).astype(np.float64)
    images = views(captures / name, "images", lambda path: cv2.imread(str(path)).astype(float))
    for a, b in ((0, 1), (1, 5), (4, 0)):
        u, v, z = find(lift(depth[a], cameras[a]), cameras[b])
        inside = (u >= 0) & (u < 63) & (v >= 0) & (v < 47)
        assert inside.mean() > 0.7
        colour, u, v, z = images[a][inside], u[inside], v[inside], z[inside]
        smooth = away_from_edges(depth[b])[v.round().astype(int), u.round().astype(int)]
        assert smooth.mean() > 0.55
        ratio = (1 / bilinear(1 / depth[b], u, v) / z)[smooth]
        assert (ratio < 1.004).mean() > 0.998, "nothing is seen through"
        agree = np.abs(ratio - 1) < 0.004
        assert agree.mean() > 0.98, "little is hidden"
        there = np.stack([bilinear(images[b][..., c], u, v) for c in range(3)], -1)
        change = np.abs(there - colour)[smooth][agree]
        unmoved = np.abs(images[b] - images[a])[inside][smooth][agree]
        assert np.median(change) < 5, "what is painted on an object stays there"
        assert change.mean() < 0.6 * unmoved.mean()


@pytest.mark.parametrize("name", NAMES)
def test_masks_hold_each_object_at_the_place_of_the_scene(captures, name):
    objects = draw_scene(name, CONFIG).objects
    masks, depth = read_masks(captures / name), read_depth(captures / name)
    assert set(np.unique(masks)) == set(range(len(objects) + 1))
    for view, camera in enumerate(opencv_cameras(captures / name)):
        world = lift(depth[view], camera)
        for number, thing in enumerate(objects, start=1):
            on = world[masks[view] == number]
            away = np.hypot(on[:, 0] - thing.position[0], on[:, 1] - thing.position[1])
            assert (away < 1.02 * thing.size).all()
            assert (on[:, 2] > -1e-3).all()
        rest = world[masks[view] == 0]
        assert np.abs(rest[rest[:, 1] < 3.0, 2]).max() < 1e-3, "the table"


@pytest.mark.parametrize("name", NAMES)
def test_every_label_is_an_object_that_some_view_shows(captures, name):
    labels = json.loads((captures / name / "masks/labels.json").read_text(encoding="utf-8"))
    objects = draw_scene(name, CONFIG).objects
    assert labels == {str(k + 1): thing.caption for k, thing in enumerate(objects)}
    masks = read_masks(captures / name)
    assert all((masks == int(value)).sum(axis=(1, 2)).max() >= 8 for value in labels)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_neither_dark_nor_burnt_nor_flat(captures, name):
    for path in (captures / name / "images").iterdir():
        image = cv2.imread(str(path))
        assert 60 < image.mean() < 210
        assert image.std() > 20
        assert (image >= 250).mean() < 0.05


def test_objects_look_different_from_each_other(captures):
    image = cv2.imread(str(captures / "desk/images/view_002.png")).astype(float)
    mask = read_masks(captures / "desk")[2]
    means = [image[mask == k].mean(axis=0) for k in np.unique(mask)]
    assert all(np.linalg.norm(a - b) > 8 for a, b in itertools.combinations(means, 2))


def test_an_interrupted_capture_leaves_nothing_that_looks_finished(tmp_path):
    n_threads = torch.get_num_threads()

    def stop(view):
        if view == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic_capture(tmp_path / "desk", "desk", CONFIG, on_view=stop)
    assert list(tmp_path.iterdir()) == []
    assert torch.get_num_threads() == n_threads
