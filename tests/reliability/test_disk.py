import errno
import subprocess
import sys

import pytest

from reliability.disk import (
    PAGE,
    PLENTY,
    mount_small_disk,
    mounting_is_allowed,
    resize,
    size_on_disk,
    unmount,
)

DROP = """
import sys
from reliability.disk import drop_capabilities
drop_capabilities()
try:
    open(sys.argv[1], "w")
except PermissionError:
    sys.exit(7)
"""


def test_without_capabilities_even_root_obeys_permissions(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o500)
    command = [sys.executable, "-c", DROP, str(folder / "file")]
    assert subprocess.run(command, check=False).returncode == 7
    folder.chmod(0o700)
    assert subprocess.run(command, check=False).returncode == 0


def test_a_small_disk_is_full_after_the_room_it_was_given(tmp_path):
    if not mounting_is_allowed(tmp_path):
        pytest.skip("mounting is not allowed")
    mount_small_disk(tmp_path)
    try:
        (tmp_path / "before").write_bytes(bytes(10 * PAGE))
        resize(tmp_path, 3 * PAGE)
        (tmp_path / "fits").write_bytes(bytes(3 * PAGE))
        with pytest.raises(OSError) as caught:
            (tmp_path / "more").write_bytes(bytes(1))
        assert caught.value.errno == errno.ENOSPC
        resize(tmp_path, PLENTY)
        (tmp_path / "more").write_bytes(bytes(1))
    finally:
        unmount(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_rounded_up_to_pages(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(bytes(1))
    (tmp_path / "c").write_bytes(bytes(PAGE + 1))
    assert size_on_disk(tmp_path, ["a", "b", "c"]) == 3 * PAGE
