"""One run at a time writes an output: an advisory lock on a file beside it, `<output>.lock`.

The system drops the lock when its process ends, however it ends. So a killed run leaves a file that
nobody holds, which the next run takes over; a run that ends deletes it.
"""

import errno
import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
# What a file system answers that has no locks, as some network file systems have none.
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
SHOWN = 1000  # characters of what the holder wrote


class LockedError(OSError):
    """Another run writes this output; the message names it."""


def lock_path(output: Path) -> Path:
    """Where the lock of an output lies: one file, by whatever link the output is reached."""
    place = output.resolve()
    return place.with_name(place.name + ".lock")


@contextmanager
def hold(output: Path) -> Iterator[None]:
    """Be the only process that writes `output`, a file or folder that need not exist yet.

    Where the file system has no locks a warning is logged, and nobody is kept away.

    Raises:
        LockedError: Another process writes it, perhaps on another machine.
        OSError: No file can be made beside the output.
    """
    path = lock_path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _open_locked(path, output)
    try:
        _write_holder(file, path)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever waits at it sees that it is gone
        os.close(file)


def _open_locked(path: Path, output: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(file, path) or _is_still(path, file):
                return file
        except BlockingIOError as error:
            holder = _read_holder(file)
            os.close(file)
            raise LockedError(
                f"{output}: being written by {holder}: wait until that run has ended, or stop it "
                f"(lock {path})"
            ) from error
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder has just ended and deleted it


def _lock(file: int, path: Path) -> bool:
    """Lock a file, or warn that it cannot be."""
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "this system has no file locks")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning("%s: no lock (%s): let no second run write there meanwhile", path, error)
        return False
    return True


def _is_still(path: Path, file: int) -> bool:
    """Whether the open file is the one that lies at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _write_holder(file: int, path: Path) -> None:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    command = " ".join(shlex.join(sys.orig_argv).split())  # in one line
    text = f"process {os.getpid()} on {platform.node()} since {since}: {command}\n"
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(errors="replace"), 0)
    except OSError as error:  # a full disk: the lock holds all the same
        log.warning("%s: held, but it does not say by whom (%s)", path, error)


def _read_holder(file: int) -> str:
    text = os.pread(file, SHOWN, 0).decode(errors="replace").strip()
    return text or "a process that has not given its name"
