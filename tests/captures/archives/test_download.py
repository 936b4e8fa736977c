import gdown
import pytest
import requests

from gsn.captures.archives.download import (
    DRIVE,
    Patience,
    SourceError,
    download,
    page_in_place,
    unfinished,
)

QUOTA = b"""<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head>
<body>Sorry, too many users have viewed or downloaded this file recently.</body></html>"""


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "file.zip"


def test_a_file_arrives_with_all_its_bytes_and_nothing_beside_it(server, target, patience, noise):
    server.behaviour.content = noise
    assert download(server.url, target, patience) is False
    assert target.read_bytes() == noise
    assert list(target.parent.iterdir()) == [target]


def test_a_file_without_announced_length_arrives(server, target, patience, noise):
    server.behaviour.content, server.behaviour.chunked = noise, True
    download(server.url, target, patience)
    assert target.read_bytes() == noise


def test_a_connection_that_drops_is_resumed_where_it_broke(server, target, patience, noise):
    server.behaviour.content, server.behaviour.cut_at = noise, [1_000_000]
    download(server.url, target, patience)
    assert target.read_bytes() == noise
    (asked,) = [asked for asked in server.behaviour.asked if asked]
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= 1_000_000


def test_attempts_count_anew_after_each_that_brought_bytes(server, target, noise):
    # Each attempt looks at the whole file first and then asks for the rest: every second answer is
    # cut off, six times, with two attempts in a row allowed.
    server.behaviour.content = noise
    server.behaviour.cut_at = [600_000] * 8
    download(server.url, target, Patience(stall_s=5, attempts=2, restarts=0, pause_s=0))
    assert target.read_bytes() == noise


def test_a_stalled_connection_is_given_up_and_resumed(server, target, patience, noise):
    server.behaviour.content, server.behaviour.stall_at = noise, [1_000_000]
    download(server.url, target, patience)
    assert target.read_bytes() == noise


def test_a_server_that_always_stalls_is_given_up_and_the_bytes_are_kept(server, target, patience):
    server.behaviour.content, server.behaviour.stall_at = b"PK" * 1000, [0] * 20
    with pytest.raises(SourceError, match="timed out"):
        download(server.url, target, patience)
    assert not target.exists()
    assert len(server.behaviour.asked) <= 4


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server, target, noise):
    server.behaviour.content, server.behaviour.cut_at = noise, [2_000_000]
    with pytest.raises(SourceError, match="incomplete"):
        download(server.url, target, Patience(stall_s=5, attempts=0, pause_s=0))
    (part,) = unfinished(target)
    n_bytes = part.stat().st_size
    assert download(server.url, target, Patience(stall_s=5)) is True
    assert server.behaviour.asked[-1] == f"bytes={n_bytes}-"
    assert target.read_bytes() == noise
    assert unfinished(target) == []


@pytest.mark.parametrize("ranges", ["ignored", "416", "403", "other_start"])
def test_a_server_that_does_not_give_the_rest_is_asked_for_the_whole(
    server, target, patience, noise, ranges
):
    server.behaviour.content, server.behaviour.ranges = noise, ranges
    server.behaviour.cut_at = [1_000_000]
    download(server.url, target, patience)
    assert target.read_bytes() == noise
    assert unfinished(target) == []


@pytest.mark.parametrize("ranges", ["ignored", "416"])
def test_a_server_that_drops_and_refuses_the_rest_for_ever_is_given_up(
    server, target, patience, noise, ranges
):
    server.behaviour.content, server.behaviour.ranges = noise, ranges
    server.behaviour.cut_at = [1_000_000] * 50
    with pytest.raises(SourceError, match="byte range"):
        download(server.url, target, patience)
    assert not target.exists()
    assert len(server.behaviour.asked) < 12


def test_a_file_complete_but_for_its_name_is_not_got_again(server, target, patience, noise):
    server.behaviour.content = noise
    target.parent.mkdir()
    (target.parent / "file.zip12345678.part").write_bytes(noise)
    assert download(server.url, target, patience) is True
    assert server.behaviour.asked[-1] == f"bytes={len(noise)}-"
    assert target.read_bytes() == noise
    assert unfinished(target) == []


def test_a_length_announced_too_large_ends_with_a_message(server, target, patience, noise):
    server.behaviour.content, server.behaviour.announced = noise, len(noise) + 1000
    with pytest.raises(SourceError, match=r"incomplete|byte range"):
        download(server.url, target, patience)
    assert not target.exists()


def test_a_length_announced_too_small_leaves_a_file_that_is_cut_off(
    server, target, patience, noise
):
    server.behaviour.content, server.behaviour.announced = noise, len(noise) - 1000
    download(server.url, target, patience)
    assert target.read_bytes() == noise[:-1000]  # no zip: its end is missing


def test_a_quota_page_is_reported_as_such_and_not_kept(server, target, patience):
    server.behaviour.content, server.behaviour.content_type = QUOTA, "text/html"
    with pytest.raises(SourceError, match=r"page \(Google Drive - Quota exceeded\).*daily quota"):
        download(server.url, target, patience)
    assert list(target.parent.iterdir()) == []


def test_a_login_page_is_not_called_a_quota(server, target, patience):
    server.behaviour.content = b"\n <html><title>Sign\nin</title></html>"
    with pytest.raises(SourceError, match=r"page \(Sign in\) in its place: the address is dead"):
        download(server.url, target, patience)


def test_a_file_is_no_page(tmp_path, noise):
    (tmp_path / "file").write_bytes(noise)
    assert page_in_place(tmp_path / "file") == ""


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_missing_file_is_asked_for_once(server, target, patience, status):
    server.behaviour.statuses = [status] * 9
    with pytest.raises(SourceError, match=str(status)):
        download(server.url, target, patience)
    assert len(server.behaviour.asked) == 1


def test_a_server_that_is_busy_is_asked_again(server, target, patience, noise):
    server.behaviour.content, server.behaviour.statuses = noise, [503]
    download(server.url, target, patience)
    assert target.read_bytes() == noise


def test_no_server_at_all_is_told_in_one_line(target, patience):
    with pytest.raises(SourceError, match=r"no connection: .*refused") as caught:
        download("http://127.0.0.1:9/file.zip", target, patience)
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none_is_told(target, patience):
    with pytest.raises(SourceError, match="http://"):
        download("http://", target, patience)


def test_an_endless_file_is_stopped(server, target, patience, noise, monkeypatch):
    monkeypatch.setattr("gsn.captures.archives.download.MOST_BYTES", 1_000_000)
    server.behaviour.content, server.behaviour.chunked = noise, True
    with pytest.raises(SourceError, match="expected at most 1000000"):
        download(server.url, target, patience)


def test_a_full_disk_is_told_before_it_is_full(server, target, patience, noise, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _folder: Usage)
    server.behaviour.content = noise
    with pytest.raises(OSError, match="make room"):
        download(server.url, target, patience)


def test_drive_is_asked_by_id_with_a_time_limit_and_resumed(target, patience, monkeypatch):
    calls = []

    def stand_in(**settings):
        calls.append(settings)
        target.write_bytes(b"PK")

    monkeypatch.setattr(gdown, "download", stand_in)
    download(f"{DRIVE}abc", target, patience)
    (call,) = calls
    assert (call["id"], call["url"], call["output"]) == ("abc", None, str(target))
    assert call["resume"] and call["timeout"] == patience.stall_s


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (gdown.FileURLRetrievalError("You have had many accesses."), "daily quota"),
        (gdown.FileURLRetrievalError("Cannot retrieve"), "the address is dead"),
        (KeyError("Content-Type"), "an answer that is no file"),
        (requests.ConnectionError("no route to host"), "no route to host"),
    ],
)
def test_what_drive_answers_is_told(target, patience, monkeypatch, raised, message):
    def stand_in(**_settings):
        raise raised

    monkeypatch.setattr(gdown, "download", stand_in)
    with pytest.raises(SourceError, match=message):
        download(f"{DRIVE}abc", target, patience)
