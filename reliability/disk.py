"""What the kernel can take away from a stage: room on the disk, and the right to write."""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

PAGE = 4096  # what a file on a tmpfs is rounded up to
PLENTY = 1 << 30
_CAPABILITIES_VERSION_3 = 0x20080522


def drop_capabilities() -> None:
    """Let root obey the permissions of its own files, for good: as any other user does.

    See capset(2).

    Raises:
        OSError: The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset: cannot drop the capabilities of root")


def mounting_is_allowed(place: Path) -> bool:
    """Try to mount a disk."""
    try:
        mount_small_disk(place)
    except (PermissionError, FileNotFoundError):
        return False
    unmount(place)
    return True


def mount_small_disk(folder: Path) -> None:
    """Mount a tmpfs on `folder`, which `resize` makes small.

    Raises:
        PermissionError: Mounting is not allowed.
        FileNotFoundError: There is no such command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount(folder, "-t", "tmpfs", "-o", f"size={PLENTY}", "tmpfs")


def unmount(folder: Path) -> None:
    """Take the disk away, with what is on it."""
    subprocess.run(["umount", "--lazy", folder], check=True)


def resize(folder: Path, room: int) -> None:
    """Let a mounted tmpfs have room for so many more bytes, at least one page."""
    there = os.statvfs(folder)
    used = (there.f_blocks - there.f_bfree) * there.f_frsize
    _mount(folder, "-o", f"remount,size={used + max(room, PAGE)}")


def size_on_disk(folder: Path, names: list[str]) -> int:
    """Bytes that these files take on a tmpfs."""
    sizes = [(folder / name).stat().st_size for name in names]
    return sum(-(-size // PAGE) * PAGE for size in sizes)


def _mount(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(errno.EPERM, done.stderr.strip(), str(folder))
