import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import zarr

from gsn.features.store import (
    FeatureMaps,
    MapWriter,
    StoreError,
    StoreHeader,
    chunk_path,
    map_fingerprint,
    view_fingerprint,
)
from gsn.geometry.cell_grid import CellGrid

HEADER = StoreHeader(
    made_by={"name": "fake", "mean": [0.5, 0.25], "weights": {"seed": 3}},
    view_names=("a", "b", "ü.1"),
    fingerprints=("1", "2", "3"),
    map_shape=(2, 3, 4),
    cell_grid=CellGrid((3.5, 2.5), (8.0, 6.0)),
    image_size=(17, 19),
)


@pytest.fixture
def maps():
    values = np.random.default_rng(0).standard_normal((3, 2, 3, 4)).astype(np.float16)
    values[1] = 0  # zarr likes to leave such a chunk out
    return values


@pytest.fixture
def folder(tmp_path, maps):
    path = tmp_path / "s.zarr"
    path.mkdir()
    (path / "zarr.json").write_bytes(HEADER.document())
    writer = MapWriter(path)
    for view, values in enumerate(maps):
        writer.write(view, values)
    return path


def test_maps_and_header_come_back_as_written(folder, maps):
    store = FeatureMaps(folder)
    assert store.header == HEADER
    assert len(store) == 3
    for view in range(3):
        got = store.read(view)
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, maps[view])
    store.check_all()


def test_a_store_is_one_file_a_map_of_the_foretold_size(folder):
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["c.0.0.0.0", "c.1.0.0.0", "c.2.0.0.0", "zarr.json"]
    assert HEADER.map_bytes == 2 * 3 * 4 * 2 + 4
    assert {chunk_path(folder, view).stat().st_size for view in range(3)} == {HEADER.map_bytes}


def test_any_zarr_3_reader_can_read_it(folder, maps):
    metadata = json.loads((folder / "zarr.json").read_text())
    assert (metadata["zarr_format"], metadata["data_type"]) == (3, "float16")
    assert metadata["shape"] == [3, 2, 3, 4]
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [1, 2, 3, 4]
    assert [codec["name"] for codec in metadata["codecs"]] == ["bytes", "crc32c"]
    raw = chunk_path(folder, 2).read_bytes()[:-4]
    np.testing.assert_array_equal(np.frombuffer(raw, "<f2").reshape(2, 3, 4), maps[2])


def test_a_missing_map_is_an_error_not_zeros(folder):
    chunk_path(folder, 1).unlink()
    with pytest.raises(StoreError, match=r"c\.1\.0\.0\.0: the map of view 'b' is missing"):
        FeatureMaps(folder).read(1)
    with pytest.raises(StoreError, match="'b' is missing"):
        FeatureMaps(folder).check_all()


def test_zarr_itself_reads_and_writes_the_same_bytes(folder, maps, tmp_path):
    read = zarr.open_array(folder, mode="r")
    np.testing.assert_array_equal(read[:], maps)
    other = tmp_path / "by_zarr.zarr"
    other.mkdir()
    (other / "zarr.json").write_bytes(HEADER.document())
    with zarr.config.set({"array.write_empty_chunks": True}):
        written = zarr.open_array(other, mode="r+")
    written[:] = maps
    for view in range(3):
        assert chunk_path(other, view).read_bytes() == chunk_path(folder, view).read_bytes()


def test_a_damaged_or_torn_map_is_an_error(folder):
    path = chunk_path(folder, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:7] + bytes([whole[7] ^ 1]) + whole[8:])
    with pytest.raises(StoreError, match=r"c\.2\.0\.0\.0: the map of view 'ü\.1' is damaged"):
        FeatureMaps(folder).read(2)
    for torn in (b"", whole[:3], whole[:-1], whole + b"\0"):
        path.write_bytes(torn)
        with pytest.raises(StoreError, match=f"expected 52 bytes, found {len(torn)}"):
            FeatureMaps(folder).read(2)


def test_views_that_are_not_there_are_refused(folder):
    for view in (-1, 3):
        with pytest.raises(IndexError, match=f"no view {view}, it has 3"):
            FeatureMaps(folder).read(view)


def test_a_folder_that_is_no_store_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.zarr: no feature maps here"):
        FeatureMaps(tmp_path / "none.zarr")
    path = folder / "zarr.json"
    document = json.loads(path.read_text())
    contradiction = document | {"shape": [2, 2, 3, 4]}
    foreign = document | {"attributes": {"format": "other"}}
    for text in ("{", "[]", "{}", json.dumps(contradiction), json.dumps(foreign)):
        path.write_text(text)
        with pytest.raises(StoreError, match=r"zarr\.json"):
            FeatureMaps(folder)


def test_maps_of_another_shape_or_type_are_not_written(folder, maps):
    with pytest.raises(ValueError, match=r"expected shape \(2 3 4\), got \(3, 2, 4\)"):
        MapWriter(folder).write(0, maps[0].reshape(3, 2, 4))
    with pytest.raises(ValueError, match="expected float16, got float32"):
        MapWriter(folder).write(0, maps[0].astype(np.float32))


def test_writing_replaces_a_file_and_never_changes_it(folder, tmp_path, maps):
    path = chunk_path(folder, 0)
    link = tmp_path / "cached"
    link.hardlink_to(path)
    before = link.read_bytes()
    MapWriter(folder).write(0, maps[0] + np.float16(1))
    assert link.read_bytes() == before != path.read_bytes()


def test_the_metadata_tells_every_difference_between_headers():
    assert replace(HEADER).document() == HEADER.document()
    others = [
        replace(HEADER, made_by={"name": "other"}),
        replace(HEADER, view_names=("a", "b", "c")),
        replace(HEADER, fingerprints=("1", "2", "4")),
        replace(HEADER, cell_grid=CellGrid((3.5, 3.5), (8.0, 6.0))),
        replace(HEADER, image_size=(18, 19)),
    ]
    assert len({header.document() for header in [HEADER, *others]}) == 6


def test_the_fingerprint_of_a_view_sees_pixels_and_teacher():
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    other = image.copy()
    other[1, 2, 0] = 1
    made_by = {"name": "fake", "seed": 0}
    fingerprints = {
        view_fingerprint(made_by, image),
        view_fingerprint(made_by, other),
        view_fingerprint(made_by, image.reshape(3, 2, 3)),
        view_fingerprint(made_by | {"seed": 1}, image),
    }
    assert len(fingerprints) == 4
    assert view_fingerprint({"seed": 0, "name": "fake"}, image.copy()) in fingerprints


def test_a_hash_of_the_pixels_stands_for_them():
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    head = b"|u1 (2, 3, 3) "
    sha256 = hashlib.sha256(head + bytes(range(18))).hexdigest()
    assert map_fingerprint({"seed": 0}, sha256) == view_fingerprint({"seed": 0}, image)


def test_threads_may_write_one_store_at_once(folder):
    rng = np.random.default_rng(1)
    maps = rng.standard_normal((30, 2, 3, 4)).astype(np.float16)
    names = tuple(map(str, range(30)))
    header = replace(HEADER, view_names=names, fingerprints=names)
    (folder / "zarr.json").write_bytes(header.document())
    writer = MapWriter(folder)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(writer.write, range(30), maps))
    store = FeatureMaps(folder)
    np.testing.assert_array_equal([store.read(view) for view in range(30)], maps)
