"""One file from one place on the web: resumed after a break, given up after a bounded time.

gdown does the transfer, from Google Drive and from any other server: it asks for the missing
range, compares what comes with what was announced and keeps an unfinished file for the next run.
"""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from zipfile import is_zipfile

import gdown
import requests
from tqdm import tqdm

from gsn.captures.archives.catalogue import GB

DRIVE = "drive:"
MOST_BYTES = 50 * GB
RANGE_REFUSED = "byte range"  # in what gdown says then
PART_SUFFIX = ".part"  # of gdown's unfinished files: <name><8 characters>.part
HTML_BYTES = 100_000  # of a page that are searched for its reason


class SourceError(Exception):
    """A place did not give the file; the message says why."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    stall_s: float = 60.0  # without a byte
    attempts: int = 3  # in a row that bring no byte
    restarts: int = 1  # from the first byte, where a server does not give the rest of a file
    pause_s: float = 1.0  # before the second attempt; doubled before each further one


def download(source: str, target: Path, patience: Patience) -> bool:
    """Bring a file here; an unfinished one of an earlier run is continued.

    Args:
        source: `drive:<id>`, or an address that starts with http:// or https://.
        target: File to write, complete or absent. Its unfinished form lies beside it.
        patience: When to give up.

    Returns:
        Whether it goes on from an earlier run, whose bytes may be of another file.

    Raises:
        SourceError: The place does not give the file.
        OSError: It cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    resumed = target.exists() or bool(unfinished(target))
    attempts, restarts = patience.attempts, patience.restarts
    while True:
        before = _bytes_of(unfinished(target))
        try:
            _transfer(source, target, patience)
        except gdown.FileURLRetrievalError as error:
            raise SourceError(_drive_reason(str(error))) from error
        except (gdown.DownloadError, requests.RequestException) as error:
            if isinstance(error, gdown.DownloadError) and RANGE_REFUSED in str(error):
                if _finish(target):
                    break
                _drop(target)
                restarts -= 1
            attempts = patience.attempts if _grew(target, before) else attempts - 1
            if attempts < 1 or restarts < 0 or not _may_pass(error):
                raise SourceError(_reason(error)) from error
            time.sleep(patience.pause_s * 2 ** (patience.attempts - attempts - 1))
        else:
            break
    if reason := page_in_place(target):
        target.unlink()
        raise SourceError(reason)
    return resumed


def unfinished(target: Path) -> list[Path]:
    """Return what earlier runs left of a file."""
    pattern = re.escape(target.name) + r".{8}" + re.escape(PART_SUFFIX)
    if not target.parent.is_dir():
        return []
    return sorted(path for path in target.parent.iterdir() if re.fullmatch(pattern, path.name))


def page_in_place(path: Path) -> str:
    """Say what a page for people, got in place of a file, means; empty if it is none."""
    with path.open("rb") as file:
        head = file.read(HTML_BYTES)
    if not head.lstrip().startswith(b"<"):
        return ""
    title = re.search(rb"<title[^>]*>(.*?)</title>", head, re.DOTALL | re.IGNORECASE)
    shown = _one_line(title[1].decode("utf-8", "replace")) if title else "without a title"
    return _drive_reason(head.decode("utf-8", "replace"), f"a page ({shown}) in its place")


def _transfer(source: str, target: Path, patience: Patience) -> None:
    """Have gdown go for the file once, with a bar."""
    is_drive = source.startswith(DRIVE)
    with tqdm(desc=target.stem, unit="B", unit_scale=True, unit_divisor=1000, leave=False) as bar:
        try:
            gdown.download(
                url=None if is_drive else source,
                id=source.removeprefix(DRIVE) if is_drive else None,
                output=str(target),
                quiet=True,
                resume=True,
                timeout=patience.stall_s,
                progress=_show_in(bar, target.parent),
            )
        except (KeyError, AssertionError) as error:  # gdown, of answers it did not foresee
            raise SourceError(f"an answer that is no file ({_one_line(error)})") from error


def _show_in(bar: "tqdm[NoReturn]", folder: Path) -> Callable[[int, int | None], None]:
    """Return what gdown calls after each piece; it also stops a file that is too large."""

    def show(n_bytes: int, total: int | None) -> None:
        if max(n_bytes, total or 0) > MOST_BYTES:
            raise SourceError(f"{total or n_bytes} bytes, expected at most {MOST_BYTES}")
        if bar.n == 0:
            bar.initial = n_bytes  # the rate is of this run
            free = shutil.disk_usage(folder).free
            if total is not None and total - n_bytes > free:
                raise OSError(
                    f"{folder}: {(total - n_bytes) / GB:.1f} GB are still to come and "
                    f"{free / GB:.1f} GB free: make room"
                )
        bar.total = total
        bar.update(n_bytes - bar.n)

    return show


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return status >= 500 or status in (408, 429)
    return not isinstance(error, ValueError)  # an address that is none


def _finish(target: Path) -> bool:
    """Give a file its name that was complete when the run was killed before it could."""
    parts = unfinished(target)
    if len(parts) != 1 or not is_zipfile(parts[0]):
        return False
    parts[0].replace(target)
    return True


def _drop(target: Path) -> None:
    for path in unfinished(target):
        path.unlink()


def _bytes_of(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _grew(target: Path, before: int) -> bool:
    return _bytes_of(unfinished(target)) > before


def _drive_reason(text: str, found: str = "no file") -> str:
    """Say what a page in place of a file most likely means."""
    if re.search(r"quota|too many (users|accesses)|many accesses", text, re.IGNORECASE):
        return (
            f"{found}: Google Drive's daily quota for this file is used up: try again tomorrow, or "
            "add another source"
        )
    return f"{found}: the address is dead, or asks for a login or a confirmation"


def _reason(error: Exception) -> str:
    if isinstance(error, requests.ConnectionError) and error.args:
        cause = getattr(error.args[0], "reason", None)  # beneath what urllib3 wraps around it
        if cause is not None:
            return f"no connection: {_one_line(cause).rpartition(': ')[2]}"
    return _one_line(error)


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
