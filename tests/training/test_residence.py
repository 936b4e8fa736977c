import logging

import numpy as np
import pytest
import torch

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.training import residence
from gsn.training.residence import Residence, fetch_views, load_scenes, stored_bytes, to_device

CPU = torch.device("cpu")


def write_noise(path, n_views=3, size=(6, 8)):
    rng = np.random.default_rng(0)
    capture = Capture(
        name=path.stem,
        view_names=tuple("abc"),
        image_sha256=tuple("abc"),
        images=rng.integers(0, 256, (n_views, *size, 3), dtype=np.uint8),
        intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
        cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
        near=1.0,
        far=2.0,
    )
    write_pack(path, capture, np.zeros(n_views, bool))
    return capture


def test_a_scene_stores_its_photographs_and_maps(make_scene):
    # 6 views of 24 × 28 colours, and maps of 4 channels, 6 × 7 cells, two bytes each.
    assert stored_bytes(make_scene()) == 6 * (24 * 28 * 3 + 4 * 6 * 7 * 2)
    assert stored_bytes(make_scene(channels=None)) == 6 * 24 * 28 * 3


def test_on_the_cpu_there_is_no_other_place(make_scene):
    home, scene = Residence(CPU, limit_bytes=1), make_scene()
    placed = home.place(scene)
    assert placed.images is scene.images
    assert placed.teacher.values is scene.teacher.values
    assert (home.resident_bytes, home.host_bytes) == (stored_bytes(scene), 0)


def test_scenes_are_read_in_order_and_it_is_told_where_they_are(tmp_path, caplog):
    captures = [write_noise(tmp_path / f"{name}.h5") for name in "ba"]
    with caplog.at_level(logging.INFO):
        scenes = load_scenes([tmp_path / "b.h5", tmp_path / "a.h5"], CPU)
    assert [scene.name for scene in scenes] == ["b", "a"]
    for scene, capture in zip(scenes, captures, strict=True):
        np.testing.assert_array_equal(scene.images.permute(0, 2, 3, 1), capture.images)
    assert "2 scenes: 0.00 GiB of photographs and maps on cpu, 0.00 GiB in pinned" in caplog.text


def test_views_are_fetched_in_the_order_asked_for(make_scene):
    images, views = make_scene().images, torch.tensor([4, 0, 3])
    fetched = fetch_views(images, views, to_device(views, CPU))
    assert [torch.equal(fetched[i], images[v]) for i, v in enumerate(views.tolist())] == [True] * 3


def test_views_of_another_device_are_copied_one_by_one(make_scene, monkeypatch):
    """The device is `meta`, which keeps shapes alone; what is copied is written down."""
    copied = []
    monkeypatch.setattr(
        residence.torch.Tensor,
        "copy_",
        lambda place, view, non_blocking: copied.append((place.shape, view, non_blocking)),
    )
    images, views = make_scene().images, torch.tensor([4, 0])
    fetched = fetch_views(images, views, views.to("meta"))
    assert (fetched.device.type, fetched.shape) == ("meta", (2, 3, 24, 28))
    assert fetched.dtype == torch.uint8
    assert [tuple(shape) for shape, _, _ in copied] == [(3, 24, 28)] * 2
    assert all(torch.equal(view, images[k]) for (_, view, _), k in zip(copied, (4, 0), strict=True))
    assert all(non_blocking for _, _, non_blocking in copied)


@pytest.mark.gpu
def test_what_does_not_fit_on_a_gpu_stays_in_pinned_memory(make_scene):
    device, scene = torch.device("cuda:0"), make_scene()
    home = Residence(device, limit_bytes=stored_bytes(scene))
    first, second = home.place(scene), home.place(make_scene("second"))
    assert first.images.device == first.teacher.values.device == device
    assert second.images.is_pinned()
    assert second.teacher.values.is_pinned()
    assert first.device == second.device == second.near.device == device
    assert home.resident_bytes == home.host_bytes == stored_bytes(scene)
    assert Residence(device).limit_bytes < torch.cuda.mem_get_info(device)[1]
