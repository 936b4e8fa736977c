import shutil

import numpy as np
import pytest
from solved_scene import (
    Camera,
    random_views,
    write_colmap_binary,
    write_colmap_text,
    write_photograph,
    write_transforms,
)

from gsn.captures.capture import CaptureError
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.formats import detect_format, files_of_capture, read_capture

AS_STORED = ReadConfig(1, None, 0.9, 1.6, 0.0)
CAMERA = Camera("PINHOLE", 8, 6, (9.0, 9.0, 4.0, 3.0))


@pytest.fixture
def scene(tmp_path):
    """Photographs with cameras in every format."""
    folder = tmp_path / "scene"
    names = [f"v{k}.png" for k in range(4)]
    views, points = random_views(names, 30)
    write_colmap_binary(folder / "sparse" / "0", {1: CAMERA}, views, points)
    write_colmap_text(folder / "sparse_text", {1: CAMERA}, views, points)
    frames = []
    for k, name in enumerate(names):
        matrix = np.eye(4)
        matrix[:3, 3] = [k, 0.1 * k * k, 0]
        for place in ("images", "images_2", "train"):
            write_photograph(folder / place / name, np.zeros((6, 8, 3), np.uint8))
        frames.append((f"images/{name}", matrix, {}))
    keys = {"fl_x": 9, "near": 1, "far": 4}
    write_transforms(folder / "transforms.json", frames, **keys, ply_file_path="a.ply")
    frames = [(name.replace("images", "train")[:-4], matrix, {}) for name, matrix, _ in frames]
    write_transforms(folder / "transforms_train.json", frames, camera_angle_x=0.7)
    rows = [[*np.eye(3, 5).ravel(), 2, 5] for _ in names]
    np.save(folder / "poses_bounds.npy", np.array(rows))
    for foreign in ("notes.txt", "masks/v0.png", "a.ply", "images/other.png", ".v0.png",
                    "sparse/0/rigs.bin", "database.db"):  # fmt: skip
        (folder / foreign).parent.mkdir(exist_ok=True)
        (folder / foreign).touch()
    return folder


def listed(scene):
    return [path.relative_to(scene).as_posix() for path in files_of_capture(scene)]


def test_the_first_format_that_is_there_is_taken(scene):
    found = []
    for last in ("poses_bounds.npy", "transforms.json", "transforms_train.json", "sparse",
                 "sparse_text"):  # fmt: skip
        found.append(detect_format(scene))
        shutil.rmtree(scene / last) if (scene / last).is_dir() else (scene / last).unlink()
    assert found == ["llff", "transforms", "nerf_synthetic", "colmap", "colmap"]
    with pytest.raises(CaptureError, match=r"scene: found \['.*expected the cameras of a capture"):
        detect_format(scene)
    with pytest.raises(CaptureError, match=r"nowhere: no such folder, expected the cameras"):
        detect_format(scene / "nowhere")


def test_the_files_of_a_capture_are_those_that_its_reader_uses(scene):
    four = [f"v{k}.png" for k in range(4)]
    copies = [f"{folder}/{name}" for folder in ("images", "images_2") for name in four]
    llff = listed(scene)
    assert {"images/other.png", "poses_bounds.npy", "masks/v0.png"} < set(llff)
    assert not {"transforms.json", "a.ply", "notes.txt", "train/v0.png"} & set(llff)
    (scene / "poses_bounds.npy").unlink()
    assert listed(scene) == ["a.ply", *copies, "masks/v0.png", "transforms.json"]
    (scene / "transforms.json").unlink()
    train = [f"train/{name}" for name in four]
    assert listed(scene) == ["masks/v0.png", *train, "transforms_train.json"]
    (scene / "transforms_train.json").unlink()
    model = [f"sparse/0/{name}.bin" for name in ("cameras", "images", "points3D")]
    assert listed(scene) == [*copies, "masks/v0.png", *model]


@pytest.mark.parametrize("kind", ["llff", "transforms", "nerf_synthetic", "colmap"])
def test_a_copy_of_these_files_reads_the_same(scene, tmp_path, kind):
    (scene / "images" / "other.png").unlink()
    shutil.rmtree(scene / "masks")
    for name in ("poses_bounds.npy", "transforms.json", "transforms_train.json"):
        if detect_format(scene) != kind:
            (scene / name).unlink()
    if kind == "llff":
        rows = np.array([[0, 1, 0, k, 6, -1, 0, 0, 0, 8, 0, 0, 1, 0, 9, 2, 5.0] for k in range(4)])
        np.save(scene / "poses_bounds.npy", rows)
    copy = tmp_path / "copy" / "scene"
    for path in files_of_capture(scene):
        (copy / path.relative_to(scene)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy / path.relative_to(scene))
    first, second = (read_capture(folder, AS_STORED) for folder in (scene, copy))
    assert detect_format(copy) == kind
    assert first.image_sha256 == second.image_sha256
    np.testing.assert_array_equal(first.cam_to_world, second.cam_to_world)
    assert (first.near, first.far) == (second.near, second.far)


def test_without_cameras_the_files_of_llff_layout_are_listed(tmp_path):
    write_photograph(tmp_path / "images" / "a.png", np.zeros((6, 8, 3), np.uint8))
    (tmp_path / "notes.txt").touch()
    assert listed(tmp_path) == ["images/a.png"]
    assert files_of_capture(tmp_path / "nowhere") == []


def test_every_real_capture_reads(captures_folder):
    for folder in sorted(path for path in captures_folder.iterdir() if path.is_dir()):
        capture = read_capture(folder, ReadConfig(None, 32, 0.9, 1.6, 0.0))
        assert capture.near == pytest.approx(1.2) and capture.far > capture.near
