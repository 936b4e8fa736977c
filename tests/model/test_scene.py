from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.features.pca import PcaFit
from gsn.features.store import StoreHeader
from gsn.features.targets import target_header
from gsn.features.update import StoreUpdate, store_path
from gsn.geometry.cell_grid import CellGrid
from gsn.model.scene import describe_targets, load_scene

CPU = torch.device("cpu")
VIEWS = ("a", "b", "c", "d")
H, W = 20, 24


def capture_of(seed=0):
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, :3, 3] = rng.normal(size=(4, 3))
    return Capture(
        name="room",
        view_names=VIEWS,
        image_sha256=VIEWS,
        images=rng.integers(0, 256, (4, H, W, 3), dtype=np.uint8),
        intrinsics=np.tile([[30.0, 0, 12], [0, 31, 10], [0, 0, 1]], (4, 1, 1)),
        cam_to_world=poses,
        near=1.2,
        far=9.5,
    )


def write_targets(folder, scene="room", dims=3, views=VIEWS, seed=0):
    maps = np.random.default_rng(seed).normal(size=(len(views), 5, 6, 8)).astype(np.float16)
    fit = PcaFit(8)
    fit.add(maps)
    basis = fit.solve(dims, {})
    project = basis.projector(torch.device("cpu")).checked
    features = StoreHeader(
        made_by={"name": "fake"},
        view_names=tuple(views),
        fingerprints=tuple(views),
        map_shape=(5, 6, 8),
        cell_grid=CellGrid((1.5, 1.5), (4.0, 4.0)),
        image_size=(H, W),
    )
    folder.mkdir(exist_ok=True)
    basis.save(folder / "basis.npz")
    update = StoreUpdate(store_path(folder, scene), target_header(features, basis, "basis.npz"))
    update.begin()
    for view in update.missing:
        update.write(view, project(maps[view]))
    update.finish()
    return basis, [project(one) for one in maps]


@pytest.fixture
def pack(tmp_path):
    write_pack(tmp_path / "room.h5", capture_of(), np.array([True, False, False, True]))
    return tmp_path / "room.h5"


def test_a_scene_holds_what_the_pack_holds(pack):
    scene, capture = load_scene(pack, CPU), capture_of()
    assert (scene.name, scene.view_names) == ("room", VIEWS)
    assert scene.held_out.tolist() == [True, False, False, True]
    assert scene.source_pool.tolist() == [1, 2]
    assert scene.images.dtype == torch.uint8
    for view in range(4):
        np.testing.assert_array_equal(scene.images[view].permute(1, 2, 0), capture.images[view])
    np.testing.assert_allclose(scene.cameras.cam_to_world, capture.cam_to_world, rtol=1e-6)
    np.testing.assert_allclose(scene.cameras.intrinsics, capture.intrinsics, rtol=1e-6)
    assert (scene.cameras.height, scene.cameras.width) == (H, W)
    assert (float(scene.near), float(scene.far)) == pytest.approx((1.2, 9.5))
    assert (scene.teacher, scene.basis) == (None, None)
    assert scene.teacher_maps(scene.source_pool) is None


def test_targets_come_with_the_place_of_their_cells_and_their_basis(pack, tmp_path):
    basis, maps = write_targets(tmp_path / "targets")
    scene = load_scene(pack, CPU, tmp_path / "targets")
    assert scene.teacher.values.dtype == torch.float16
    for view in range(4):
        np.testing.assert_array_equal(scene.teacher.values[view].permute(1, 2, 0), maps[view])
    assert scene.teacher.grid == CellGrid((1.5, 1.5), (4.0, 4.0))
    assert scene.basis == ("basis.npz", basis.sha256)
    assert scene.teacher_name == "fake, untrained"


def test_teacher_maps_are_handed_out_with_unit_vectors_in_the_order_asked_for(pack, tmp_path):
    _, maps = write_targets(tmp_path / "targets")
    scene = load_scene(pack, CPU, tmp_path / "targets")
    handed = scene.teacher_maps(torch.tensor([2, 0])).values
    for got, view in zip(handed, (2, 0), strict=True):
        raw = maps[view].astype(np.float32)
        by_hand = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
        np.testing.assert_allclose(got.permute(1, 2, 0), by_hand, rtol=1e-5, atol=1e-6)


def test_camera_centres_are_at_hand_on_the_host_where_they_are_on_the_device(pack):
    scene = load_scene(pack, CPU)
    assert scene.device == CPU
    np.testing.assert_allclose(scene.host_centres, capture_of().cam_to_world[:, :3, 3], rtol=1e-6)
    assert scene.host_centres is scene.host_centres  # read from the device once


def test_targets_of_other_views_are_refused(pack, tmp_path):
    write_targets(tmp_path / "targets", views=("a", "b", "c", "e"))
    with pytest.raises(ValueError, match=r"room\.zarr: maps of 4 views .* of another pack"):
        load_scene(pack, CPU, tmp_path / "targets")


def test_missing_packs_and_targets_are_named(pack, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"attic\.h5"):
        load_scene(tmp_path / "attic.h5", CPU)
    with pytest.raises(FileNotFoundError, match=r"room\.zarr"):
        load_scene(pack, CPU, tmp_path / "targets")


def test_source_photos_are_encoded_as_numbers_up_to_one(make_scene, make_model):
    scene, model = make_scene(), make_model()
    views = torch.tensor([4, 1])
    with torch.no_grad():
        sources = scene.encode(model, views)
        expected = model.encoder(scene.images[views].float() / 255)
    torch.testing.assert_close(sources.images * 255, scene.images[views].float())
    assert sources.images.max() <= 1
    torch.testing.assert_close(sources.encoded, expected)
    assert torch.equal(sources.cameras.centres, scene.cameras.centres[views])
    lengths = sources.teacher.values.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_targets_of_a_training_run_are_described_by_basis_and_content(make_scene):
    first, second = make_scene("first"), make_scene("second", seed=1)
    second = replace(second, basis=("second.basis.npz", "c" * 64))
    found = describe_targets([first, second])
    assert found.channels == 4
    assert found.basis_sha256 == {"basis.npz": "b" * 64, "second.basis.npz": "c" * 64}
    assert set(found.sha256) == {"first", "second"}
    assert len(set(found.sha256.values())) == 2
    changed = make_scene("first")
    changed.teacher.values[0, 0, 0, 0] += 1
    assert describe_targets([changed]).sha256["first"] != found.sha256["first"]
    assert describe_targets([make_scene("first")]).sha256["first"] == found.sha256["first"]


def test_scenes_without_targets_or_with_other_channels_do_not_train_together(make_scene):
    with pytest.raises(ValueError, match=r"\{'a': 4, 'b': 3\}"):
        describe_targets([make_scene("a"), make_scene("b", channels=3)])
    with pytest.raises(ValueError, match=r"channels of the targets: \{'a': 4\}"):
        describe_targets([make_scene("a"), make_scene("b", channels=None)])
