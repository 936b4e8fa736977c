import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gsn.atomic import complete_or_absent, partial_path, publish, remove

KILLED = """
import os, sys
from pathlib import Path
from gsn.atomic import complete_or_absent
with complete_or_absent(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os._exit(9)
"""


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with complete_or_absent(path) as partial:
        partial.write_text("first half, ")
        assert not path.exists()
        assert partial == path.with_name("file.txt.partial")
    assert path.read_text() == "first half, "
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_the_older_file_is_as_it_was(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), complete_or_absent(path) as partial:
        partial.write_text("new")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_exception_the_older_folder_is_as_it_was(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(ValueError, match="stop"), complete_or_absent(path) as partial:
        partial.mkdir()
        (partial / "new").touch()
        raise ValueError("stop")
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == [
        "folder",
        "folder/old",
    ]


def test_a_new_folder_takes_the_place_of_the_whole_older_one(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with complete_or_absent(path) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [p.name for p in path.iterdir()] == ["new"]


def test_a_kill_leaves_nothing_that_looks_finished_and_the_next_run_clears_it(tmp_path):
    path = tmp_path / "file"
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == 9
    assert list(tmp_path.iterdir()) == [partial_path(path)]
    with complete_or_absent(path) as partial:
        assert not partial.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_left_over_partial_folder_does_not_leak_into_the_next(tmp_path):
    path = tmp_path / "folder"
    partial_path(path).mkdir()
    (partial_path(path) / "stale").touch()
    with complete_or_absent(path) as partial:
        partial.mkdir()
    assert list(path.iterdir()) == []


def test_writing_nothing_is_an_error_and_keeps_the_older_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), complete_or_absent(path):
        pass
    assert path.read_text() == "old"


def test_a_link_is_replaced_and_what_it_pointed_to_stays(tmp_path):
    for name in ("cached_file", "cached_folder"):
        cached, link = tmp_path / name, tmp_path / f"link_to_{name}"
        with complete_or_absent(cached) as partial:
            if name == "cached_folder":
                partial.mkdir()
                (partial / "inside").write_text("cached")
            else:
                partial.write_text("cached")
        link.symlink_to(cached)
        new = tmp_path / "new"
        new.mkdir() if cached.is_dir() else new.write_text("new")
        publish(new, link)
        assert not link.is_symlink()
    assert (tmp_path / "cached_file").read_text() == "cached"
    assert (tmp_path / "cached_folder" / "inside").read_text() == "cached"


@pytest.mark.parametrize("deed", ["publish", "remove"])
def test_a_folder_that_is_deleted_is_whole_or_has_another_name(tmp_path, monkeypatch, deed):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    partial_path(path).mkdir()
    (partial_path(path) / "new").touch()

    def stop(_folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        publish(partial_path(path), path) if deed == "publish" else remove(path)
    monkeypatch.undo()
    left = {"publish": ["folder", "folder.old.partial"]}
    left["remove"] = ["folder.old.partial", "folder.partial"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == left[deed]
    if deed == "publish":
        assert [entry.name for entry in path.iterdir()] == ["new"]
    remove(path)
    remove(partial_path(path))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_file(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(OSError, match=r"No space left on device: '.*file\.partial'"):
        with complete_or_absent(path) as partial:
            partial.touch()
            with Path("/dev/full").open("wb", buffering=0) as full:
                full.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_numpy_that_names_no_file_gets_one(tmp_path):
    says = r"file\.partial: 9 requested and 5 written; is the disk full\?"
    with pytest.raises(OSError, match=says), complete_or_absent(tmp_path / "file"):
        raise OSError("9 requested and 5 written")


def test_remove_deletes_files_folders_links_and_bears_absence(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link", "broken", "absent"):
        remove(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


def test_an_entry_that_cannot_be_deleted_is_named_with_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    folder.mkdir()

    def refuse(_):  # as rmtree does, which is in the folder
        raise PermissionError(13, "Permission denied", "c.3.0.0.0")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermissionError, match=r"store\.old\.partial/\.\.\./c\.3\.0\.0\.0"):
        remove(folder)
