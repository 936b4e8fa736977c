import pytest

from reliability.trees import (
    changed_files,
    changed_folders,
    clear,
    copy_to,
    differences,
    digest_of,
)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "place"
    (place / "in").mkdir(parents=True)
    (place / "in" / "a.bin").write_bytes(b"a")
    (place / "b.bin").write_bytes(b"b")
    return place


def test_equal_folders_have_equal_digests(folder, tmp_path):
    copy_to(folder, tmp_path / "other")
    assert digest_of(tmp_path / "other") == digest_of(folder)
    assert set(digest_of(folder)) == {"in/", "in/a.bin", "b.bin"}


def test_each_kind_of_difference_is_told(folder):
    before = digest_of(folder)
    (folder / "b.bin").unlink()
    (folder / "in" / "a.bin").write_bytes(b"other")
    (folder / "in" / "c.bin.partial").touch()
    assert differences(digest_of(folder), before) == [
        "in/a.bin has other bytes",
        "b.bin is missing",
        "in/c.bin.partial is left over",
    ]


def test_an_empty_folder_that_is_left_is_a_difference(folder):
    before = digest_of(folder)
    (folder / "new").mkdir()
    assert differences(digest_of(folder), before) == ["new/ is left over"]


def test_the_minutes_of_a_report_and_locks_do_not_count_and_nothing_else_of_it(folder):
    page = folder / "index.html"

    def digest(text):
        page.write_text(text)
        return digest_of(folder)

    first = digest("<dt>minutes</dt><dd>0.1</dd><dt>pixels</dt><dd>4</dd>")
    (folder / "out.lock").write_text("process 7")
    assert digest("<dt>minutes</dt><dd>12.3</dd><dt>pixels</dt><dd>4</dd>") == first
    assert digest("<dt>minutes</dt><dd>0.1</dd><dt>pixels</dt><dd>5</dd>") != first


def test_changed_files_and_the_folders_they_change_in_are_named(folder):
    before = digest_of(folder)
    (folder / "in" / "a.bin").write_bytes(b"other")
    (folder / "new").mkdir()
    (folder / "new" / "c.bin").touch()
    after = digest_of(folder)
    assert changed_files(before, after) == ["in/a.bin", "new/c.bin"]
    assert changed_folders(before, after) == [".", "in"]  # "new" was not there to be protected


def test_a_copy_takes_the_place_of_what_was_there(folder, tmp_path):
    target = tmp_path / "target"
    (target / "old").mkdir(parents=True)
    copy_to(folder, target)
    assert digest_of(target) == digest_of(folder)
    clear(target)
    assert target.is_dir() and digest_of(target) == {}
