import re

import pytest

from gsn.extraction import price
from gsn.extraction.price import DiskSpaceError, check_room, existing_parent, free_bytes
from gsn.features.archive import Archive


def test_a_folder_to_come_lies_on_the_disk_of_the_nearest_one_that_exists(tmp_path, monkeypatch):
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert existing_parent(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert existing_parent(type(tmp_path)("a/b")) == tmp_path
    assert free_bytes(tmp_path / "a") > 0


def test_what_does_not_fit_is_refused_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(price, "free_bytes", lambda path: 2_000_000_000)
    with pytest.raises(
        DiskSpaceError, match=r"x: 2\.020 GB are needed here and 2\.000 GB are free$"
    ):
        check_room(tmp_path / "x", 2_000_000_000)
    check_room(tmp_path / "x", 1_980_000_000)


def test_earlier_maps_are_told_as_what_may_go(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(price, "free_bytes", lambda path: 10)
    earlier = Archive(tmp_path / "x").place({"name": "dino"}, "s.zarr")
    earlier.mkdir(parents=True)
    (earlier / "c.0.0.0.0").write_bytes(bytes(3_000_000))
    told = r"\.earlier/x keeps 0\.003 GB of maps made with other settings"
    with pytest.raises(DiskSpaceError, match=f"GB are free; .*{told} and may be deleted"):
        check_room(tmp_path / "x", 1000)
    with caplog.at_level("INFO"):
        check_room(tmp_path / "x", 1)
    assert re.search(f"{told}; it may be deleted at any time", caplog.text)


def test_nothing_always_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(price, "free_bytes", lambda path: 0)
    check_room(tmp_path, 0)
    with pytest.raises(OSError, match="are needed"):
        check_room(tmp_path, 1)
