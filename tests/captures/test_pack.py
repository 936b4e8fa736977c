import time

import h5py
import numpy as np
import pytest

from gsn.captures.capture import Capture, Masks
from gsn.captures.pack import PackError, open_pack, write_pack

V, H, W = 4, 6, 9
HELD_OUT = np.array([True, False, False, True])


def capture(masks=True, depth=True):
    rng = np.random.default_rng(0)
    objects = Masks(
        labels=("cup", "Löffel"),
        values=rng.integers(0, 3, (V, H, W), dtype=np.uint8),
        present=np.array([True, False, True, True]),
    )
    return Capture(
        name="any",
        view_names=("a", "b 1", "c", "дом"),
        image_sha256=tuple(f"{k:064x}" for k in range(V)),
        images=rng.integers(0, 256, (V, H, W, 3), dtype=np.uint8),
        intrinsics=rng.normal(size=(V, 3, 3)),
        cam_to_world=rng.normal(size=(V, 4, 4)),
        near=1.2,
        far=7.123456789,
        masks=objects if masks else None,
        depth=rng.random((V, H, W), dtype=np.float32) if depth else None,
    )


@pytest.fixture
def path(tmp_path):
    write_pack(tmp_path / "kitchen.h5", capture(), HELD_OUT)
    return tmp_path / "kitchen.h5"


def test_what_was_written_is_read(path):
    wanted = capture()
    with open_pack(path) as pack:
        assert pack.name == "kitchen"
        assert pack.view_names == wanted.view_names
        assert pack.image_sha256 == wanted.image_sha256
        assert (pack.n_views, pack.image_size) == (V, (H, W))
        assert (pack.near, pack.far) == (wanted.near, wanted.far)
        np.testing.assert_array_equal(pack.held_out, HELD_OUT)
        np.testing.assert_array_equal(pack.intrinsics, wanted.intrinsics)
        np.testing.assert_array_equal(pack.cam_to_world, wanted.cam_to_world)
        np.testing.assert_array_equal(pack.images(), wanted.images)
        np.testing.assert_array_equal(pack.image(2), wanted.images[2])
        assert pack.labels == wanted.masks.labels
        np.testing.assert_array_equal(pack.mask_present, wanted.masks.present)
        np.testing.assert_array_equal(pack.mask(3), wanted.masks.values[3])
        assert pack.has_depth
        np.testing.assert_array_equal(pack.depth(1), wanted.depth[1])
        assert pack.held_out.dtype == np.bool_
        assert pack.image(0).dtype == pack.mask(0).dtype == np.uint8


def test_masks_and_depth_may_be_missing(tmp_path):
    write_pack(tmp_path / "a.h5", capture(masks=False, depth=False), HELD_OUT)
    with open_pack(tmp_path / "a.h5") as pack:
        assert pack.labels == ()
        assert not pack.mask_present.any()
        assert not pack.has_depth
        with pytest.raises(ValueError, match="view 'a' has no mask"):
            pack.mask(0)
        with pytest.raises(ValueError, match="no depth in this pack"):
            pack.depth(0)


def test_a_view_without_a_mask_is_not_taken_for_an_empty_one(path):
    with open_pack(path) as pack, pytest.raises(ValueError, match="view 'b 1' has no mask"):
        pack.mask(1)


def test_equal_input_gives_equal_bytes_a_second_later(path, tmp_path):
    time.sleep(1.1)  # HDF5 counts time in seconds
    write_pack(tmp_path / "other.h5", capture(), HELD_OUT)
    assert (tmp_path / "other.h5").read_bytes() == path.read_bytes()


def test_a_chunk_is_a_view(path):
    with h5py.File(path) as file:
        assert file["images"].chunks == (1, H, W, 3)
        assert file["masks"].chunks == file["depth"].chunks == (1, H, W)


def test_a_file_cut_off_anywhere_is_refused(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 9):
        path.write_bytes(whole[:length])
        with (
            pytest.raises(PackError, match=r"kitchen\.h5: damaged, cut short"),
            open_pack(path),
        ):
            pass


def test_a_flip_of_any_byte_is_found_and_named(path):
    whole = path.read_bytes()
    offsets = np.random.default_rng(0).choice(len(whole), 300, replace=False)
    for offset in [*offsets, 0, len(whole) - 1, len(whole) - 9]:
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << offset % 8
        path.write_bytes(flipped)
        with pytest.raises(PackError, match=r"kitchen\.h5: damaged"), open_pack(path):
            pass


def test_a_foreign_file_is_refused(tmp_path, seal_again):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(PackError, match=r"a\.h5: .* does not end with its checksum"):
        open_pack(tmp_path / "a.h5").__enter__()
    seal_again(tmp_path / "a.h5")
    with pytest.raises(PackError, match=r"expected format 'gsn-pack' .*found None"):
        open_pack(tmp_path / "a.h5").__enter__()


def test_a_pack_of_another_version_is_refused(path, seal_again):
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    seal_again(path)
    with pytest.raises(PackError, match="found 'gsn-pack' version 99; prepare the scene again"):
        open_pack(path).__enter__()


def test_a_pack_without_its_cameras_is_refused(path, seal_again):
    with h5py.File(path, "a") as file:
        del file["cam_to_world"]
    seal_again(path)
    with pytest.raises(PackError, match=r"damaged pack .*cam_to_world"):
        open_pack(path).__enter__()


def test_a_missing_pack_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.h5: no such pack"):
        open_pack(tmp_path / "b.h5").__enter__()


def test_arrays_that_do_not_fit_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"held_out: expected shape \(4\), got \(3,\)"):
        write_pack(tmp_path / "a.h5", capture(), HELD_OUT[:3])
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_leaves_the_older_pack(path, monkeypatch):
    whole = path.read_bytes()

    def fail(*_args, **_options):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.File, "create_dataset", fail)
    with pytest.raises(OSError, match="disk full"):
        write_pack(path, capture(depth=False), HELD_OUT)
    assert path.read_bytes() == whole
    assert [entry.name for entry in path.parent.iterdir()] == ["kitchen.h5"]
