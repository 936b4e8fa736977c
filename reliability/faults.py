"""What can go wrong in a process at the k-th thing that it does to the disk.

Python tells its audit hooks of every file it opens, renames, links or removes before it does so,
whichever library asked; `fsync` is watched by a patch. Bytes that libraries in C write (HDF5,
torch, OpenCV) are reached by a limit of the file size, set when the k-th such event comes.
"""

import errno
import mmap
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENTS = ("os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.truncate")
# A library in C may open a file unseen, after its folder was made or an older file removed.
BEFORE_BYTES = ("open", "os.mkdir", "os.remove")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LARGEST_PIECE = 4096  # bytes that a write which is cut short may still put down


class Counter:
    """The number of events so far and whether the fault came, in memory shared with a child."""

    _HEAD = struct.Struct("qq")
    _MOST = 1 << 16  # events that are told apart

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, self._HEAD.size + self._MOST)

    @property
    def n_events(self) -> int:
        """How often the child has begun to change something on the disk."""
        return int(self._HEAD.unpack_from(self._memory)[0])

    @property
    def came(self) -> bool:
        """Whether the fault happened."""
        return bool(self._HEAD.unpack_from(self._memory)[1])

    @property
    def before_bytes(self) -> list[int]:
        """The numbers of the events that bytes of files can follow."""
        n_events = min(self.n_events, self._MOST - 1)
        return [k for k in range(1, n_events + 1) if self._memory[self._HEAD.size + k]]

    def add(self, event: str) -> int:
        """Count one more event; return how many there are."""
        n_events = self.n_events + 1
        self._HEAD.pack_into(self._memory, 0, n_events, self.came)
        if n_events < self._MOST:
            self._memory[self._HEAD.size + n_events] = event in BEFORE_BYTES
        return n_events

    def note(self) -> None:
        """Note that the fault happens now."""
        self._HEAD.pack_into(self._memory, 0, self.n_events, True)


@dataclass(frozen=True)
class Fault:
    """One fault at one event; `piece` counts for writes that are cut short."""

    kind: str  # a key of KINDS
    event: int  # from 1
    piece: int = 0  # bytes, up to which a file may still grow

    def install(self, counter: Counter, folder: Path) -> None:
        """Arm this process: from now on its events below `folder` are counted."""

        def on_event(event: str, path: str) -> None:
            if counter.add(event) == self.event:
                counter.note()
                KINDS[self.kind](self, path)

        watch(folder, on_event)


def watch(folder: Path, on_event: Callable[[str, str], None]) -> None:
    """Call `on_event` with event and path before each change below `folder` that Python sees."""
    root = str(folder.resolve())
    fsync = os.fsync

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITING:
                return
        elif event in EVENTS:
            path = arguments[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if os.path.abspath(name).startswith(root):  # noqa: PTH100  (resolve() would be slow)
                on_event(event, name)

    def watched_fsync(descriptor: int) -> None:
        on_event("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        fsync(descriptor)

    os.fsync = watched_fsync  # type: ignore[assignment]
    sys.addaudithook(hook)


def _die(fault: Fault, path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _no_space(fault: Fault, path: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def _limit(fault: Fault, path: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (fault.piece, fault.piece))


def _die_within(fault: Fault, path: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _limit(fault, path)


# What happens at the event: the first two before it, the others at the next bytes that are written.
KINDS: dict[str, Callable[[Fault, str], None]] = {
    "killed before a write": _die,
    "no space at a write": _no_space,
    "killed within a write": _die_within,
    "writes cut short": _limit,
}
WITHIN = ("killed within a write", "writes cut short")
NEVER = Fault("killed before a write", 0)
