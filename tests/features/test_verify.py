import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from gsn.features.__main__ import app
from gsn.features.basis import Basis
from gsn.features.prompts import Prompts
from gsn.features.store import MapWriter, StoreHeader, chunk_path
from gsn.features.update import StoreUpdate
from gsn.features.verify import take_inventory, verify
from gsn.geometry.cell_grid import CellGrid

HEADER = StoreHeader(
    made_by={"name": "fake"},
    view_names=("a", "b"),
    fingerprints=("1", "2"),
    map_shape=(1, 2, 3),
    cell_grid=CellGrid((3.5, 2.5), (8.0, 6.0)),
    image_size=(17, 19),
)


def write_store(path, header=HEADER):
    path.mkdir(parents=True)
    (path / "zarr.json").write_bytes(header.document())
    writer = MapWriter(path)
    for view in range(len(header.view_names)):
        writer.write(view, np.full(header.map_shape, view + 0.5, dtype=np.float16))


@pytest.fixture
def features(tmp_path):
    """Everything that lies in a folder of features, of two views."""
    folder = tmp_path / "data" / "features"
    write_store(folder / "dino" / "s.zarr")
    write_store(folder / ".earlier" / "dino" / "0123" / "s.zarr")
    ones = np.ones(2)
    Basis(ones, np.eye(2), ones, ones / 2, 7, {"of": "test"}).save(folder / "dino" / "basis.npz")
    unit = np.array([[0.6, 0.8]], dtype=np.float32)
    Prompts(("cup",), unit, {"of": "test"}).save(folder / "dino" / "prompts.npz")
    return folder


def faults_of(folder):
    return verify(take_inventory(folder), lambda _: None)


def run(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_an_undamaged_folder_is_said_to_be_so_and_how_fast(features):
    done = run(features)
    assert done.exit_code == 0
    summary = done.stdout.splitlines()[-1]
    assert summary.startswith("no damage in 2 stores and 2 bases and prompts: 0.0 MB in ")
    assert summary.endswith(" MB/s")
    assert run(features / "dino" / "s.zarr").exit_code == 0


def test_a_flip_of_any_byte_of_any_file_is_found_and_named(features):
    shutil.rmtree(features / ".earlier")
    files = [path for path in sorted(features.rglob("*")) if path.is_file()]
    assert len(files) == 3 + 2
    n_flips = 0
    for path in files:
        whole = path.read_bytes()
        for offset in range(len(whole)):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << offset % 8
            path.write_bytes(flipped)
            assert [fault.path for fault in faults_of(features)] == [path], (path, offset)
            n_flips += 1
        path.write_bytes(whole)
    assert n_flips == sum(path.stat().st_size for path in files)
    assert faults_of(features) == []


def test_each_damaged_file_is_told_with_the_command_that_mends_it(features):
    chunk = chunk_path(features / "dino" / "s.zarr", 1)
    chunk.write_bytes(bytes(16))
    (features / ".earlier" / "dino" / "0123" / "s.zarr" / "zarr.json").write_text("{")
    done = run(features)
    assert done.exit_code == 1
    first, second, summary = done.stdout.splitlines()
    earlier = features / ".earlier" / "dino" / "0123" / "s.zarr"
    assert first.startswith(f"{earlier / 'zarr.json'}: not the metadata of feature maps")
    assert first.endswith(f"; to mend: rm -r -- {earlier}")
    assert second.startswith(f"{chunk}: the map of view 'b' is damaged: its checksum differs")
    assert second.endswith("; to mend: dvc repro -f -s extract")
    assert summary.startswith("2 damaged files in 2 stores")


def test_targets_are_mended_by_the_stage_that_writes_them(features):
    targets = features.parent / "targets"
    shutil.copytree(features / "dino", targets / "dino")
    (targets / "dino" / "basis.npz").write_bytes(b"")
    (fault,) = faults_of(targets)
    assert (fault.path.name, fault.remedy) == ("basis.npz", "dvc repro -f -s reduce")


def test_missing_and_stray_files_are_faults(features):
    store = features / "dino" / "s.zarr"
    chunk_path(store, 0).unlink()
    (store / "c.2.0.0.0").write_bytes(b"one too many")
    (store / "a b").mkdir()
    stray, missing, surplus = faults_of(features)
    assert (stray.path, stray.remedy) == (store / "a b", f"rm -r -- '{store}/a b'")
    assert missing.path == chunk_path(store, 0)
    assert "missing" in missing.what
    assert (surplus.path.name, surplus.what) == ("c.2.0.0.0", "no part of this store")
    (store / "zarr.json").unlink()
    (fault,) = faults_of(features)
    assert fault.path == store / "zarr.json"
    assert fault.what == "missing: all maps of this store have to be made again"


def test_a_map_cannot_pass_for_that_of_another_view_of_another_size(features):
    store = features / "dino" / "s.zarr"
    write_store(features / "other.zarr", replace(HEADER, map_shape=(2, 2, 3)))
    shutil.copyfile(chunk_path(features / "other.zarr", 0), chunk_path(store, 0))
    (fault,) = faults_of(store)
    assert "expected 16 bytes, found 28" in fault.what


def test_unfinished_and_foreign_files_are_counted_and_no_faults(features):
    (features / "dino" / "t.zarr.partial").mkdir()
    (features / "dino" / "notes.txt").write_text("mine")
    done = run(features)
    assert done.exit_code == 0
    assert "no files of features: 1 (" in done.stdout
    assert "notes.txt" in done.stdout
    assert "unfinished: 1 (the next run checks them)" in done.stdout


def test_a_file_that_cannot_be_read_is_a_fault(features):
    chunk = chunk_path(features / "dino" / "s.zarr", 0)
    chunk.unlink()
    chunk.symlink_to("/proc/self/mem")  # reading its start gives EIO, for root too
    (fault,) = faults_of(features)
    assert fault.path == chunk


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_a_folder_without_features_is_refused_in_a_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    done = run(tmp_path / name)
    assert done.exit_code == 1
    assert f"{tmp_path / name}: " in done.stderr
    assert "expected" in done.stderr
    assert isinstance(done.exception, SystemExit)


def test_a_run_that_writes_meanwhile_is_not_taken_for_damage(tmp_path):
    """The store is replaced without a pause, each time by one of other maps."""
    path = tmp_path / "s.zarr"
    names = tuple(map(str, range(8)))
    stop = threading.Event()

    def publish(number):
        header = replace(
            HEADER,
            made_by={"number": number},
            view_names=names,
            fingerprints=tuple(f"{number} {name}" for name in names),
            map_shape=(1, 2, 3 + number % 2),
        )
        update = StoreUpdate(path, header)
        update.begin()
        for view in update.missing:
            update.write(view, np.full(header.map_shape, number, np.float16))
        update.finish()

    def write():
        number = 1
        while not stop.is_set():
            publish(number)
            number += 1

    publish(0)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        n_looks = 0
        while n_looks < 40:
            try:
                inventory = take_inventory(tmp_path)
            except ValueError:  # between the old and the new one
                continue
            assert verify(inventory, lambda _: None) == []
            n_looks += 1
    finally:
        stop.set()
        writer.join()
