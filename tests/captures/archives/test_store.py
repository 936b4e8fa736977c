import logging
from pathlib import Path

import pytest
from published_archives import publish_archive

from gsn.captures.archives.archive_lock import read_lock
from gsn.captures.archives.download import Patience
from gsn.captures.archives.sources import MissingArchiveError
from gsn.captures.archives.store import Archives
from gsn.captures.archives.zip_file import ArchiveError
from gsn.fingerprint import sha256_of_file

NERF = "nerf_llff_data"
HASTE = Patience(stall_s=2, attempts=1, restarts=1, pause_s=0)
NOWHERE = "http://127.0.0.1:9/file.zip"


@pytest.fixture
def store(tmp_path):
    """Return archives as a new process sees them, with these sources of NeRF's."""

    def open_store(*sources, **more):
        places = {NERF: list(sources), **more}
        return Archives(tmp_path / "archives", tmp_path / "lock", places, HASTE)

    return open_store


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_an_archive_got_by_hand_is_picked_up_by_its_name(store, tmp_path):
    path = publish_archive(tmp_path / "archives", NERF)
    archives = store(NOWHERE)
    archives.unpack("fern", tmp_path / "out")
    expected = ["images/0.jpg", "images/1.jpg", "images/2.jpg", "poses_bounds.npy"]
    assert names(tmp_path / "out") == expected
    assert (tmp_path / "out" / "images" / "1.jpg").read_bytes() == b"nerf_llff_data/fern 1"
    locked = read_lock(tmp_path / "lock")[NERF]
    assert (locked.bytes, locked.sha256) == (path.stat().st_size, sha256_of_file(path))


def test_sources_are_tried_in_order_until_one_gives_the_archive(store, server, tmp_path, caplog):
    path = publish_archive(tmp_path, NERF)
    server.behaviour.content = path.read_bytes()
    store(NOWHERE, str(tmp_path / "nothing.zip"), server.url, "http://never.asked").bring([NERF])
    assert (tmp_path / "archives" / f"{NERF}.zip").read_bytes() == path.read_bytes()
    assert "no connection" in caplog.text
    assert "no such file on this machine" in caplog.text
    assert "never.asked" not in caplog.text
    assert names(tmp_path / "archives") == [f"{NERF}.zip"]


@pytest.mark.parametrize("place", ["", f"{NERF}.zip"])
def test_a_file_or_a_folder_of_this_machine_is_used_where_it_is(store, tmp_path, place):
    publish_archive(tmp_path / "mine", NERF)
    store(str(tmp_path / "mine" / place)).unpack("trex", tmp_path / "out")
    assert (tmp_path / "out" / "poses_bounds.npy").is_file()
    assert not (tmp_path / "archives").exists()


def test_a_second_process_downloads_and_writes_nothing(store, server, tmp_path):
    server.behaviour.content = publish_archive(tmp_path, NERF).read_bytes()
    store(server.url).bring([NERF])
    n_asked, lock = len(server.behaviour.asked), (tmp_path / "lock").stat()
    store(server.url).bring([NERF])
    assert len(server.behaviour.asked) == n_asked
    assert (tmp_path / "lock").stat() == lock


def test_scenes_and_origins_need_no_archive_once_it_is_locked(store, tmp_path):
    publish_archive(tmp_path / "archives", "ibrnet_collected")
    expected = ["ibrnet1_a_b", "ibrnet1_qq1", "ibrnet2_qq1", "ibrnet2_zc2"]
    both = ["ibrnet_collected_1", "ibrnet_collected_2"]
    assert store().scenes_of(both) == expected
    (tmp_path / "archives" / "ibrnet_collected.zip").unlink()
    assert store().scenes_of(both) == expected
    assert store().origins_of(["ibrnet2_zc2"])["ibrnet2_zc2"] == {
        "kind": "archive",
        "archive": "ibrnet_collected",
        "sha256": read_lock(tmp_path / "lock")["ibrnet_collected"].sha256,
        "folder": "ibrnet_collected_2/zc2",
    }


def test_published_names_need_neither_archive_nor_lock(store):
    four = ["data2_chesstable", "data2_colorfountain", "data4_shoerack", "data4_stove"]
    assert store().scenes_of(["test_data"]) == four
    assert store().archive_of("fern") == NERF
    assert store().archive_of("data2_fernvlsb") is None  # like fern: neither learnt nor scored


def test_without_any_source_all_that_lack_are_told_with_size_and_place(store, tmp_path):
    archives = store(NOWHERE, real_iconic_noface=["drive:abc"])
    archives.sources["real_iconic_noface"] = []
    with pytest.raises(MissingArchiveError) as caught:
        archives.bring([NERF, "real_iconic_noface"])
    nerf, iconic = str(caught.value).splitlines()
    assert nerf.startswith(f"{NERF}.zip (about 1.8 GB) is not in {tmp_path}/archives/ and")
    assert f"{NOWHERE}: no connection" in nerf
    assert nerf.endswith(
        f"download it by hand from {NOWHERE} and put it there under this name, or add a source"
    )
    assert "real_iconic_noface.zip (about 6.6 GB)" in iconic
    assert "none is named" in iconic


def test_a_person_is_told_the_page_of_a_drive_file(store, monkeypatch):
    def stand_in(**_settings):
        raise KeyError

    monkeypatch.setattr("gdown.download", stand_in)
    with pytest.raises(MissingArchiveError, match=r"https://drive\.google\.com/file/d/abc/view"):
        store("drive:abc").bring([NERF])


def test_an_archive_other_than_the_locked_one_stops(store, tmp_path):
    publish_archive(tmp_path / "archives", NERF)
    store().bring([NERF])
    lock = (tmp_path / "lock").read_bytes()
    path = publish_archive(tmp_path / "archives", NERF, {"nerf_llff_data/more.txt": b"!"})
    with pytest.raises(ArchiveError, match=r"expected \d+ bytes, [0-9a-f]{64} as the lock file"):
        store().bring([NERF])
    data = bytearray(path.read_bytes())
    publish_archive(tmp_path / "archives", NERF)
    data = bytearray(path.read_bytes())
    data[200] ^= 1  # of the same size
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged or another edition"):
        store().bring([NERF])
    assert (tmp_path / "lock").read_bytes() == lock


def test_a_source_with_another_edition_is_passed_over(store, server, tmp_path, caplog):
    right = publish_archive(tmp_path / "archives", NERF)
    store().bring([NERF])
    mirror = right.rename(tmp_path / "right.zip")
    other = publish_archive(tmp_path / "other", NERF, {"nerf_llff_data/more.txt": b"!"})
    server.behaviour.content = other.read_bytes()
    archives = store(server.url, str(mirror))
    archives.bring([NERF])
    assert "another edition" in caplog.text
    assert not right.exists()
    with pytest.raises(MissingArchiveError, match="another edition"):
        store(server.url).bring([NERF])


@pytest.mark.parametrize("fault", ["page", "cut", "evil", "damaged"])
def test_what_is_no_sound_archive_is_neither_kept_nor_locked(store, server, tmp_path, fault):
    whole = publish_archive(tmp_path, NERF).read_bytes()
    at = whole.index(b"nerf_llff_data/fern/images/1.jpg") + len("nerf_llff_data/fern/images/1.jpg")
    evil = publish_archive(tmp_path / "evil", NERF, {"../x": b"!"}).read_bytes()
    damaged = bytearray(whole)
    damaged[at + 5] ^= 0xFF
    content = {"page": b"<html>", "cut": whole[:-30], "evil": evil, "damaged": bytes(damaged)}
    server.behaviour.content = content[fault]
    with pytest.raises(MissingArchiveError):
        store(server.url).bring([NERF])
    assert names(tmp_path / "archives") == []
    assert read_lock(tmp_path / "lock") == {}


def test_a_page_saved_by_hand_under_the_right_name_is_told_and_left(store, tmp_path):
    (tmp_path / "archives").mkdir()
    path = tmp_path / "archives" / f"{NERF}.zip"
    path.write_bytes(b"<!doctype html><title>Sign in</title>")
    with pytest.raises(ArchiveError, match=r"nerf_llff_data\.zip: a page \(Sign in\)"):
        store().bring([NERF])
    assert path.exists()


def test_bytes_of_two_editions_that_do_not_fit_are_got_again(store, server, tmp_path, caplog):
    path = publish_archive(tmp_path, NERF)
    data = path.read_bytes()
    server.behaviour.content, server.behaviour.cut_at = data, [3000] * 3
    with pytest.raises(MissingArchiveError):
        store(server.url).bring([NERF])
    (part,) = (tmp_path / "archives").iterdir()
    part.write_bytes(bytes(3000))  # of an edition that was replaced since
    server.behaviour.cut_at.clear()
    store(server.url).bring([NERF])
    assert "two downloads that do not fit" in caplog.text
    assert (tmp_path / "archives" / f"{NERF}.zip").read_bytes() == data


def test_unfinished_files_of_two_sources_do_not_meet(store, server, tmp_path):
    data = publish_archive(tmp_path, NERF).read_bytes()
    server.behaviour.content, server.behaviour.cut_at = data, [3000] * 3
    with pytest.raises(MissingArchiveError):
        store(server.url).bring([NERF])
    (part,) = (tmp_path / "archives").iterdir()
    part.write_bytes(data[:3000])
    server.behaviour.cut_at.clear()
    server.behaviour.asked.clear()
    store(server.url + "?other").bring([NERF])
    assert server.behaviour.asked == [None]  # from the first byte
    assert names(tmp_path / "archives") == [f"{NERF}.zip"]


def test_a_scene_of_no_archive_is_told(store):
    with pytest.raises(ArchiveError, match="'tree': in none of the archives"):
        store().origins_of(["tree"])
    with pytest.raises(ValueError, match=r"unknown sets of scenes \['trees'\]; known: ibrnet"):
        store().scenes_of(["trees"])


def test_room_is_counted_in_bytes_that_a_reader_can_use(store, tmp_path):
    publish_archive(tmp_path / "archives", NERF)
    poses, photograph = 128 + 3 * 17 * 8, len("nerf_llff_data/fern 0")
    assert store().unpacked_bytes(["fern"]) == poses + 3 * photograph
    assert store().unpacked_bytes(["fern", "trex"]) == 2 * (poses + 3 * photograph)


def test_a_scene_left_out_is_told(store, tmp_path, caplog):
    changes = {"ibrnet_collected_1/qq1/images/0.jpg": None}
    publish_archive(tmp_path / "archives", "ibrnet_collected", changes)
    with caplog.at_level(logging.WARNING):
        assert store().scenes_of(["ibrnet_collected_1"]) == ["ibrnet1_a_b"]
    assert "ibrnet_collected_1/qq1 is left out: 3 rows in poses_bounds.npy" in caplog.text


def test_a_home_folder_is_expanded(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    publish_archive(tmp_path / "mine", NERF)
    store("~/mine").bring([NERF])
    assert Path("~/mine").expanduser() == tmp_path / "mine"


@pytest.mark.parametrize(
    "poison",
    [
        {"nerf_llff_data/fern/masks/bomb.png": bytes(4 << 20)},
        {"nerf_llff_data/fern/images": b"a file where others have a folder"},
    ],
)
def test_an_archive_that_cannot_be_unpacked_is_not_locked_and_the_next_one_is_tried(
    store, tmp_path, poison
):
    bad = publish_archive(tmp_path / "bad", NERF, poison)
    good = publish_archive(tmp_path / "good", NERF)
    store(str(bad), str(good)).bring([NERF])
    assert read_lock(tmp_path / "lock")[NERF].sha256 == sha256_of_file(good)


def test_files_of_the_user_beside_a_download_stay(store, server, tmp_path):
    server.behaviour.content = publish_archive(tmp_path, NERF).read_bytes()
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / f"{NERF}.zip.md5").write_text("mine")
    (tmp_path / "archives" / f"{NERF}.zip.0123abcdqwertyui.part").write_text("of another source")
    store(server.url).bring([NERF])
    assert names(tmp_path / "archives") == [f"{NERF}.zip", f"{NERF}.zip.md5"]
