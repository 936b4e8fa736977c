"""What lies in a folder, as hashes, so that two folders can be compared."""

import hashlib
import re
import shutil
from pathlib import Path

Digest = dict[str, str]  # path inside the folder -> hash of its bytes; folders end in "/"
LOCKS = "*.lock"  # they name who holds them, and since when
# The one number of a report that no two runs share.
MINUTES = re.compile(rb"(<dt>minutes</dt>\s*<dd>)[0-9.]+")
EXCEPTIONS = (
    f"`{LOCKS}` beside outputs, which name their last holder, and the number after “minutes” in "
    "`reports/*/index.html`"
)


def digest_of(folder: Path) -> Digest:
    """Hash every file of a folder, and name its folders; `EXCEPTIONS` are left out."""
    found: Digest = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[f"{name}/"] = ""
        elif not path.match(LOCKS):
            found[name] = _hash(path)
    return found


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "index.html":
        content = MINUTES.sub(rb"\1", content)
    return hashlib.sha256(content).hexdigest()


def differences(found: Digest, expected: Digest) -> list[str]:
    """Say in words where two digests differ."""
    lacking = [f"{name} is missing" for name in expected if name not in found]
    added = [f"{name} is left over" for name in found if name not in expected]
    other = [
        f"{name} has other bytes"
        for name in found
        if found[name] != expected.get(name, found[name])
    ]
    return other + lacking + added


def changed_files(before: Digest, after: Digest) -> list[str]:
    """Name the files, not folders, that are new or other in `after`."""
    return [name for name in after if name[-1] != "/" and before.get(name) != after[name]]


def changed_folders(before: Digest, after: Digest) -> list[str]:
    """Name the folders whose list of entries, or an entry of which, is other in `after`."""
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    parents = {Path(name.rstrip("/")).parent.as_posix() for name in names}
    return sorted(parent for parent in parents if parent == "." or f"{parent}/" in before)


def copy_to(source: Path, target: Path) -> None:
    """Let `target` be a copy of the folder `source`; what was there before goes."""
    clear(target)
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def clear(folder: Path) -> None:
    """Empty a folder, or make it; a folder that a file system is mounted on stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
