import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gsn.features.archive import Archive
from gsn.features.store import FeatureMaps, StoreError, StoreHeader, chunk_path
from gsn.features.update import StoreUpdate, drop_all_but, store_path
from gsn.geometry.cell_grid import CellGrid

SHAPE = (2, 3, 4)


def header(views, made_by="teacher", shape=SHAPE):
    """A store of one-letter views; the fingerprint of each is the letter and its maker."""
    return StoreHeader(
        made_by={"name": made_by},
        view_names=tuple(f"{name}{k}" for k, name in enumerate(views)),
        fingerprints=tuple(f"{made_by} {name}" for name in views),
        map_shape=shape,
        cell_grid=CellGrid((3.5, 3.5), (8.0, 8.0)),
        image_size=(16, 24),
    )


def map_of(fingerprint):
    """The only right map for a fingerprint."""
    seed = list(fingerprint.encode())
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float16)


def bring_up_to_date(path, wanted, stop_after=None):
    """Make all missing maps, or only the first few as a killed run does; return what was made."""
    update = StoreUpdate(path, wanted)
    made = []
    if update.is_current:
        return made
    update.begin()
    for view in update.missing[:stop_after]:
        update.write(view, map_of(wanted.fingerprints[view]))
        made.append(wanted.fingerprints[view].split()[-1])
    if stop_after is None:
        update.finish()
    return made


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_as_fresh(path, wanted, tmp_path):
    fresh = tmp_path / "fresh" / path.name
    shutil.rmtree(fresh.parent, ignore_errors=True)
    bring_up_to_date(fresh, wanted)
    assert contents(path.parent) == contents(fresh.parent)
    maps = FeatureMaps(path)
    for view, fingerprint in enumerate(wanted.fingerprints):
        np.testing.assert_array_equal(maps.read(view), map_of(fingerprint))


@pytest.fixture
def path(tmp_path):
    return store_path(tmp_path / "stores", "scene")


@pytest.mark.parametrize(
    ("before", "after", "made"),
    [
        ("abc", "abcd", ["d"]),
        ("abc", "xabc", ["x"]),  # every index moves
        ("abc", "ac", []),
        ("abc", "cba", []),
        ("abc", "axc", ["x"]),
        ("abc", "aab", []),  # one photograph twice
        ("aab", "ba", []),
        ("", "ab", ["a", "b"]),
    ],
)
def test_only_new_maps_are_made_and_the_result_is_as_fresh(path, tmp_path, before, after, made):
    if before:
        bring_up_to_date(path, header(before))
    assert bring_up_to_date(path, header(after)) == made
    assert_as_fresh(path, header(after), tmp_path)


def test_another_teacher_makes_all_maps_again(path, tmp_path):
    bring_up_to_date(path, header("ab"))
    assert bring_up_to_date(path, header("ab", made_by="other")) == ["a", "b"]
    assert_as_fresh(path, header("ab", made_by="other"), tmp_path)


@pytest.mark.parametrize("views", ["abc", "aba"])  # different photographs, one twice
def test_a_store_that_is_current_is_not_touched(path, views):
    bring_up_to_date(path, header(views))
    before = {file: file.stat().st_mtime_ns for file in [path, *path.iterdir()]}
    update = StoreUpdate(path, header(views))
    assert (update.is_current, update.missing, update.n_reused) == (True, (), 3)
    assert bring_up_to_date(path, header(views)) == []
    assert {file: file.stat().st_mtime_ns for file in [path, *path.iterdir()]} == before


def test_planning_changes_nothing_on_disk(path, tmp_path):
    bring_up_to_date(path, header("abc"))
    bring_up_to_date(path, header("abcdef"), stop_after=1)
    before = contents(tmp_path)
    update = StoreUpdate(path, header("axd"))
    assert update.missing == (1,)
    assert contents(tmp_path) == before


def test_a_resumed_run_makes_only_what_was_left(path, tmp_path):
    assert bring_up_to_date(path, header("abcd"), stop_after=2) == ["a", "b"]
    assert not path.exists()
    assert bring_up_to_date(path, header("abcd")) == ["c", "d"]
    assert_as_fresh(path, header("abcd"), tmp_path)


def test_the_old_store_stays_until_the_new_one_is_complete(path):
    bring_up_to_date(path, header("ab"))
    before = contents(path)
    bring_up_to_date(path, header("abcd"), stop_after=1)
    assert contents(path) == before


def test_maps_of_a_killed_run_serve_another_set_of_views(path, tmp_path):
    bring_up_to_date(path, header("abcd"), stop_after=3)
    assert bring_up_to_date(path, header("xcb"), stop_after=0) == []
    assert bring_up_to_date(path, header("dbcx"), stop_after=1) == ["d"]
    assert bring_up_to_date(path, header("dbcx")) == ["x"]
    assert_as_fresh(path, header("dbcx"), tmp_path)


def test_maps_are_found_also_after_a_kill_amid_the_taking_over(path, tmp_path):
    bring_up_to_date(path, header("abc"), stop_after=3)
    StoreUpdate(path, header("xab")).begin()
    # As if killed after the new store was begun, before any map was taken over.
    partial = path.with_name(path.name + ".partial")
    for file in partial.glob("c.*"):
        file.unlink()
    assert bring_up_to_date(path, header("xab")) == ["x"]
    assert_as_fresh(path, header("xab"), tmp_path)


def test_maps_lost_to_two_kills_are_made_again(path, tmp_path):
    bring_up_to_date(path, header("abc"), stop_after=3)
    StoreUpdate(path, header("xa")).begin()  # sets the first store aside, takes over a
    partial = path.with_name(path.name + ".partial")
    assert partial.with_name(path.name + ".old.partial").is_dir()
    assert bring_up_to_date(path, header("ayc")) == ["y", "c"]
    assert_as_fresh(path, header("ayc"), tmp_path)


def test_a_resumed_run_does_not_copy_again(path):
    bring_up_to_date(path, header("ab"))
    bring_up_to_date(path, header("abc"), stop_after=0)
    partial = path.with_name(path.name + ".partial")
    copied = {chunk_path(partial, view).stat().st_ino for view in (0, 1)}
    bring_up_to_date(path, header("abc"))
    assert {chunk_path(path, view).stat().st_ino for view in (0, 1)} == copied


def test_half_written_files_are_neither_used_nor_kept(path, tmp_path):
    bring_up_to_date(path, header("abc"), stop_after=2)
    partial = path.with_name(path.name + ".partial")
    (partial / "c.2.0.0.6b1f.partial").write_bytes(b"half a map")
    torn = chunk_path(partial, 1)
    torn.write_bytes(torn.read_bytes()[:-9])
    assert bring_up_to_date(path, header("abc")) == ["b", "c"]
    assert_as_fresh(path, header("abc"), tmp_path)


def test_damaged_and_missing_maps_are_made_again_and_told(path, tmp_path, caplog):
    bring_up_to_date(path, header("abcd"))
    damaged = bytearray(chunk_path(path, 1).read_bytes())
    damaged[0] ^= 1
    chunk_path(path, 1).write_bytes(damaged)
    chunk_path(path, 2).unlink()
    assert bring_up_to_date(path, header("abcd")) == ["b", "c"]
    assert "c.1.0.0.0: the map of view 'b1' is damaged" in caplog.text
    assert "c.2.0.0.0: the map of view 'c2' is missing" in caplog.text
    assert_as_fresh(path, header("abcd"), tmp_path)


@pytest.mark.parametrize("text", ["{", "", None])
def test_a_store_without_its_metadata_is_made_again(path, tmp_path, text):
    bring_up_to_date(path, header("ab"))
    (path / "zarr.json").unlink() if text is None else (path / "zarr.json").write_text(text)
    assert bring_up_to_date(path, header("ab")) == ["a", "b"]
    assert_as_fresh(path, header("ab"), tmp_path)


def test_files_linked_into_a_cache_are_read_only_for_us(path, tmp_path):
    bring_up_to_date(path, header("abc"))
    cache = tmp_path / "cache"
    cache.mkdir()
    for file in path.iterdir():
        (cache / file.name).hardlink_to(file)
        file.chmod(0o444)
    before = contents(cache)
    inodes = {file.name: file.stat().st_ino for file in cache.iterdir()}
    bring_up_to_date(path, header("xcab"))
    assert contents(cache) == before
    assert {file.name: file.stat().st_ino for file in cache.iterdir()} == inodes
    assert_as_fresh(path, header("xcab"), tmp_path)


def test_a_store_with_a_map_not_written_is_not_published(path):
    update = StoreUpdate(path, header("ab"))
    update.begin()
    update.write(0, map_of("a"))
    with pytest.raises(StoreError, match=r"1 maps not written: \['c\.1\.0\.0\.0'\]"):
        update.finish()
    assert not path.exists()


def test_stores_of_other_scenes_and_unfinished_ones_are_dropped(path):
    folder = path.parent
    for scene in ("scene", "gone"):
        bring_up_to_date(store_path(folder, scene), header("ab"))
    bring_up_to_date(store_path(folder, "scene"), header("abc"), stop_after=1)
    bring_up_to_date(store_path(folder, "killed"), header("abc"), stop_after=1)
    (folder / "notes.txt").write_text("mine")
    assert drop_all_but(folder, ["scene"]) == 1
    assert sorted(entry.name for entry in folder.iterdir()) == ["notes.txt", "scene.zarr"]
    assert drop_all_but(folder / "none", []) == 0


def fill(path, wanted, archive, stop_after=None):
    """As `bring_up_to_date`, with an archive and through `take`."""
    update = StoreUpdate(path, wanted, archive)
    made = [wanted.fingerprints[view].split()[-1] for view in update.missing[:stop_after]]
    if not update.missing and not update.is_current:
        update.begin()
        update.finish()
    for view in update.missing[:stop_after]:
        update.take(view, map_of(wanted.fingerprints[view]))
    return made


def test_maps_taken_by_threads_begin_and_publish_the_store(path, tmp_path):
    wanted = header("abcdefghij")
    update = StoreUpdate(path, wanted)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(update.take, range(10), map(map_of, wanted.fingerprints)))
    assert_as_fresh(path, wanted, tmp_path)


def test_the_store_of_another_maker_comes_back_from_the_archive(path, tmp_path):
    archive = Archive(path.parent)
    fill(path, header("abc"), archive)
    assert fill(path, header("ab", "other"), archive) == ["a", "b"]
    assert_as_fresh(path, header("ab", "other"), tmp_path)
    assert fill(path, header("axc"), archive) == ["x"]
    assert_as_fresh(path, header("axc"), tmp_path)
    assert fill(path, header("b", "other"), archive) == []
    assert_as_fresh(path, header("b", "other"), tmp_path)


@pytest.mark.parametrize("kind", ["damaged", "missing", "read-only", "no links"])
def test_only_good_maps_come_back_from_the_archive(path, tmp_path, monkeypatch, kind):
    archive = Archive(path.parent)
    fill(path, header("abc"), archive)
    fill(path, header("abc", "other"), archive)
    file = chunk_path(archive.place({"name": "teacher"}, path.name), 1)
    if kind == "damaged":
        file.write_bytes(file.read_bytes()[::-1])
    elif kind == "missing":
        file.unlink()
    elif kind == "read-only":
        for each in file.parent.iterdir():
            each.chmod(0o444)
    else:
        monkeypatch.setattr(Path, "hardlink_to", refuse_links)
    lost = kind in ("damaged", "missing")
    assert fill(path, header("abc"), archive) == (["b"] if lost else [])
    assert_as_fresh(path, header("abc"), tmp_path)


def refuse_links(self, target):
    raise OSError("no links here")


def test_a_kill_between_setting_aside_and_publishing_loses_nothing(path, tmp_path, monkeypatch):
    archive = Archive(path.parent)
    fill(path, header("ab"), archive)

    def killed(partial, finished):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gsn.features.update.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            fill(path, header("ab", "other"), archive)
    assert not path.exists()
    assert fill(path, header("ab", "other"), archive) == []
    assert_as_fresh(path, header("ab", "other"), tmp_path)
    assert fill(path, header("ab"), archive) == []
    assert_as_fresh(path, header("ab"), tmp_path)


@pytest.mark.parametrize("finish", [True, False])
def test_unfinished_stores_of_another_maker_go_to_the_archive(path, tmp_path, finish):
    archive = Archive(path.parent)
    fill(path, header("ab"), archive)
    fill(path, header("abc", "other"), archive, stop_after=2)
    if finish:  # the first settings come back: their store is current
        drop_all_but(path.parent, ["scene"], archive)
    else:  # or a third maker takes the place where the store is built
        fill(path, header("a", "third"), archive)
    assert not path.with_name(path.name + ".partial").exists()
    assert fill(path, header("abc", "other"), archive) == ["c"]
    assert_as_fresh(path, header("abc", "other"), tmp_path)


def test_what_begin_takes_over_is_foretold(path):
    fill(path, header("abc"), None)
    assert StoreUpdate(path, header("abc")).n_taken_over == 0
    assert StoreUpdate(path, header("abcd")).n_taken_over == 3
    fill(path, header("abcde"), None, stop_after=1)
    assert StoreUpdate(path, header("abcde")).n_taken_over == 0
