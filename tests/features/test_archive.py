import shutil

import pytest

from gsn.features.archive import Archive
from gsn.features.store import StoreHeader
from gsn.geometry.cell_grid import CellGrid


def put_store(path, maker, text="map"):
    """A folder with the metadata of a store, and a file that tells it from others."""
    header = StoreHeader(
        made_by={"name": maker, "mean": (0.5,)},
        view_names=("a",),
        fingerprints=("1",),
        map_shape=(1, 1, 1),
        cell_grid=CellGrid((0, 0), (1, 1)),
        image_size=(1, 1),
    )
    path.mkdir(parents=True)
    (path / "zarr.json").write_bytes(header.document())
    (path / "c.0.0.0.0").write_text(text)
    return header.made_by


@pytest.fixture
def out(tmp_path):
    return tmp_path / "features" / "dino"


def test_it_lies_beside_the_output_and_each_maker_has_a_folder(out):
    archive = Archive(out)
    one, other = archive.place({"a": 1}, "s.zarr"), archive.place({"a": 2}, "s.zarr")
    assert one.parent.parent == other.parent.parent == out.parent / ".earlier" / "dino"
    assert one != other
    assert len(one.parent.name) == 16
    assert Archive(out.parent / "clip").place({"a": 1}, "s.zarr") != one


def test_a_store_of_another_maker_is_moved(out):
    made_by = put_store(out / "s.zarr", "old")
    archive = Archive(out)
    assert archive.set_aside(out / "s.zarr", "s.zarr", {"name": "new"})
    assert not (out / "s.zarr").exists()
    assert (archive.place(made_by, "s.zarr") / "c.0.0.0.0").read_text() == "map"
    header = (archive.place(made_by, "s.zarr") / "zarr.json").stat().st_size
    assert archive.size_bytes() == header + 3


def test_a_store_of_the_same_maker_stays(out):
    made_by = put_store(out / "s.zarr", "old")
    assert not Archive(out).set_aside(out / "s.zarr", "s.zarr", made_by)
    assert (out / "s.zarr").is_dir()
    assert Archive(out).size_bytes() == 0


def test_what_is_no_store_stays(out):
    (out / "s.zarr").mkdir(parents=True)
    assert not Archive(out).set_aside(out / "s.zarr", "s.zarr", {})
    (out / "s.zarr" / "zarr.json").write_text("{")
    assert not Archive(out).set_aside(out / "s.zarr", "s.zarr", {})
    assert not Archive(out).set_aside(out / "none.zarr", "none.zarr", {})


def test_a_finished_store_replaces_what_is_kept_and_an_unfinished_one_does_not(out):
    archive = Archive(out)
    for text, name, moved in [
        ("first", "s.zarr", True),
        ("second", "s.zarr", True),
        ("third", "s.zarr.partial", False),
    ]:
        made_by = put_store(out / name, "old", text)
        assert archive.set_aside(out / name, "s.zarr", {}) is moved
    assert (archive.place(made_by, "s.zarr") / "c.0.0.0.0").read_text() == "second"
    shutil.rmtree(archive.folder)
    assert archive.set_aside(out / "s.zarr.partial", "s.zarr", {})
    assert (archive.place(made_by, "s.zarr") / "c.0.0.0.0").read_text() == "third"


def test_files_without_write_permission_are_moved_and_forgotten(out):
    made_by = put_store(out / "s.zarr", "old")
    for file in (out / "s.zarr").iterdir():
        file.chmod(0o444)
    archive = Archive(out)
    assert archive.set_aside(out / "s.zarr", "s.zarr", {})
    archive.forget(made_by, "s.zarr")
    assert not archive.folder.exists()
    archive.forget(made_by, "s.zarr")


def test_forgetting_one_leaves_the_others(out):
    archive = Archive(out)
    for scene in ("s.zarr", "t.zarr"):
        made_by = put_store(out / scene, "old")
        archive.set_aside(out / scene, scene, {})
    archive.forget(made_by, "s.zarr")
    left = archive.place(made_by, "t.zarr")
    assert list(left.parent.iterdir()) == [left]
