import errno
from pathlib import Path

import pytest

from gsn.features.links import hard_links_work, link_or_copy


@pytest.fixture
def no_links(monkeypatch):
    def refuse(self, target):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)


def test_a_link_is_the_same_file(tmp_path):
    (tmp_path / "a").write_text("map")
    (tmp_path / "b.partial").write_text("left by a kill")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").samefile(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert hard_links_work(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_link_to_a_link_is_the_file_itself(tmp_path):
    (tmp_path / "cached").write_text("map")
    (tmp_path / "a").symlink_to(tmp_path / "cached")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").is_symlink()
    assert (tmp_path / "b").samefile(tmp_path / "cached")


def test_where_there_are_no_links_a_copy_is_made(tmp_path, no_links):
    (tmp_path / "a").write_text("map")
    (tmp_path / "a").chmod(0o444)
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "map"
    assert not (tmp_path / "b").samefile(tmp_path / "a")
    assert not hard_links_work(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
