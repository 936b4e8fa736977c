import pytest

from gsn.features import price
from gsn.features.price import DiskSpaceError, check_room, existing_parent, free_bytes


def test_a_folder_to_come_lies_on_the_disk_of_the_nearest_one_that_exists(tmp_path, monkeypatch):
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert existing_parent(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert existing_parent(type(tmp_path)("a/b")) == tmp_path
    assert free_bytes(tmp_path / "a") > 0


def test_what_does_not_fit_is_refused_with_both_numbers_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(price, "free_bytes", lambda path: 2_000_000_000)
    message = r"x: 2\.020 GB are needed here and 2\.000 GB are free; tidy up"
    with pytest.raises(DiskSpaceError, match=message):
        check_room(tmp_path / "x", 2_000_000_000, "tidy up")
    check_room(tmp_path / "x", 1_980_000_000, "tidy up")


def test_nothing_always_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(price, "free_bytes", lambda path: 0)
    check_room(tmp_path, 0, "")
    with pytest.raises(OSError, match="are needed"):
        check_room(tmp_path, 1, "")
