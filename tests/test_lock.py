import errno
import fcntl
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gsn.lock import LockedError, hold, lock_path

HOLDER = """
import sys
from pathlib import Path
from gsn.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
# Adds 1 to the number in a file, many times: two at once would lose some.
COUNTER = """
import sys, time
from pathlib import Path
from gsn.lock import LockedError, hold
out, done = Path(sys.argv[1]), 0
while done < 100:
    try:
        with hold(out):
            number = int(out.read_text())
            time.sleep(0.0002)
            out.write_text(str(number + 1))
            done += 1
    except LockedError:
        time.sleep(0.0001)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes `out`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_writes(tmp_path, holder):
    says = rf"out: being written by process {holder.pid} on \S+ since 20\d\d-.*hold\(Path.*: wait"
    with pytest.raises(LockedError, match=says), hold(tmp_path / "out"):
        pytest.fail("held twice")
    with hold(tmp_path / "another"):
        pass


def test_the_lock_ends_with_its_process_even_if_that_is_killed(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert lock_path(tmp_path / "out").exists()
    with hold(tmp_path / "out"):
        assert f"process {os.getpid()} " in lock_path(tmp_path / "out").read_text()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_dropped_and_deleted_after_an_error(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path / "deep" / "out"):
        raise KeyError
    assert list((tmp_path / "deep").iterdir()) == []
    with hold(tmp_path / "deep" / "out"):
        pass


def test_an_output_is_one_by_whatever_link_it_is_reached(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert lock_path(tmp_path / "link" / "out") == tmp_path / "disk" / "out.lock"
    with (
        hold(tmp_path / "disk" / "out"),
        pytest.raises(LockedError),
        hold(tmp_path / "link" / "out"),
    ):
        pytest.fail("held twice")


def test_of_many_processes_one_writes_at_a_time(tmp_path):
    """A lock that is deleted while others wait for it must not be held by two of them."""
    out = tmp_path / "out"
    out.write_text("0")
    command = [sys.executable, "-c", COUNTER, str(out)]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: subprocess.run(command, check=False), range(3)))
    assert [one.returncode for one in done] == [0, 0, 0]
    assert out.read_text() == "300"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_the_run_goes_on_and_says_so(tmp_path, monkeypatch, caplog, number):
    def fail(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with caplog.at_level(logging.WARNING), hold(tmp_path / "out"):
        pass
    assert "no lock" in caplog.text
    assert "let no second run write there" in caplog.text


def test_an_error_that_is_not_about_locks_is_not_taken_for_one(tmp_path, monkeypatch):
    def fail(*_args):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="input/output"), hold(tmp_path / "out"):
        pytest.fail("went on")
