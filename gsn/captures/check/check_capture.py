"""Whether captures can be learnt from: what is in a folder, its numbers, and a verdict.

Photographs are looked at with a long side of at most 1024 pixels.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gsn.captures.capture import Capture, CaptureError
from gsn.captures.check.epipolar import Agreement, compare_with_matches
from gsn.captures.check.verdict import Finding, Measures, Verdict, judge
from gsn.captures.decode import decode_rgb
from gsn.captures.images import IMAGE_SUFFIXES, Size
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.formats import (
    LABELS,
    detect_format,
    files_of_capture,
    find_format,
    read_capture,
)

AS_CHECKED = ReadConfig(
    factor=None, long_side_px=1024, near_scale=1.0, far_scale=1.0, outlier_percent=0.0
)


@dataclass(frozen=True)
class SceneReport:
    """All that was found out about one capture."""

    folder: Path
    format: str  # empty: none was recognised
    n_photographs: int  # image files, less masks and depth maps
    stored_size: Size | None  # of the largest readable of them
    unreadable: tuple[str, ...]  # paths inside the capture
    measures: Measures | None  # None: it could not be read
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """Name of the scene."""
        return self.folder.name

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return max((finding.verdict for finding in self.findings), default=Verdict.OK)


@dataclass(frozen=True)
class Found:
    """What a folder holds."""

    captures: tuple[Path, ...]  # folders with cameras or photographs
    others: tuple[Path, ...]  # folders with neither


def find_captures(folder: Path) -> Found:
    """Return the captures in a folder, which may be one itself; hidden folders do not count.

    Raises:
        CaptureError: There is no such folder, or nothing in it is a capture.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise CaptureError(f"{folder}: {found}, expected a capture or a folder of captures")
    if _has_cameras(folder):
        return Found((folder,), ())
    inner = sorted(path for path in folder.iterdir() if path.name[0] != "." and _is_folder(path))
    captures = tuple(path for path in inner if _has_cameras(path) or _has_photographs(path))
    if not captures and _has_photographs(folder):
        return Found((folder,), ())
    if not captures:
        raise CaptureError(
            f"{folder}: no capture in it or in the {len(inner)} folders in it, expected each in a "
            "folder of its own, with photographs and a file of cameras"
        )
    return Found(captures, tuple(path for path in inner if path not in captures))


def check_capture(folder: Path, n_threads: int) -> SceneReport:
    """Read a capture as the pipeline would, measure it, and judge it. Faults become findings."""
    warnings: list[str] = []
    kind, measures = "", None
    photographs: list[Path] = []
    try:
        kind = detect_format(folder)
        photographs = photographs_of(folder)
        with _collected_warnings(warnings):
            capture = read_capture(folder, AS_CHECKED)
        measures = measure(capture, compare_with_matches(capture, n_threads))
        findings = judge(measures, capture.view_names)
    except (ValueError, OSError) as error:
        findings = [Finding(Verdict.UNUSABLE, _said(error, folder))]
    stored_size, unreadable = _survey(photographs, everything=measures is None)
    notes = [Finding(Verdict.OK, text.replace(f"{folder}/", "")) for text in warnings]
    return SceneReport(
        folder=folder,
        format=kind,
        n_photographs=len(photographs),
        stored_size=stored_size,
        unreadable=tuple(str(path.relative_to(folder)) for path in unreadable),
        measures=measures,
        findings=(*findings, *notes),
    )


def count_photographs(folder: Path) -> int:
    """Return the number of image files of a capture, at least 1, as a measure of its cost."""
    try:
        return max(1, len(photographs_of(folder)))
    except (ValueError, OSError):  # its row will say so
        return 1


def photographs_of(folder: Path) -> list[Path]:
    """Return the image files of a capture, less masks and depth maps."""
    return [
        path
        for path in files_of_capture(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES and path.relative_to(folder).parts[0] not in LABELS
    ]


def measure(capture: Capture, agreement: Agreement) -> Measures:
    """Take the numbers of a capture."""
    height, width = capture.images.shape[1:3]
    centres, axes = capture.cam_to_world[:, :3, 3], capture.cam_to_world[:, :3, 2]
    distance = np.linalg.norm(centres[:, None] - centres, axis=-1)  # (V, V)
    np.fill_diagonal(distance, np.inf)
    focal = capture.intrinsics[:, 0, 0]
    return Measures(
        n_views=len(centres),
        size=(height, width),
        focal_px=float(np.median(focal)),
        field_of_view_deg=float(np.degrees(2 * np.arctan(width / 2 / np.median(focal)))),
        near=capture.near,
        far=capture.far,
        baseline=float(np.median(distance.min(axis=1)) / capture.near),
        spread_deg=float(np.degrees(np.arccos(np.clip(axes @ axes.T, -1, 1)).max())),
        agreement=agreement,
    )


# What must not be looked into counts as a capture, so that a row says so.


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return True


def _has_cameras(folder: Path) -> bool:
    try:
        return find_format(folder) is not None
    except OSError:
        return True


def _has_photographs(folder: Path) -> bool:
    """Whether there are image files in the folder or its folders of images."""
    try:
        places = [folder, *(path for path in folder.glob("images*") if path.is_dir())]
        return any(
            path.suffix.lower() in IMAGE_SUFFIXES for place in places for path in place.iterdir()
        )
    except OSError:
        return True


def _survey(photographs: list[Path], everything: bool) -> tuple[Size | None, list[Path]]:
    """Return the largest size of the photographs, and those that cannot be decoded.

    Args:
        photographs: Files.
        everything: Decode all of them; else, since they were read, the first of each folder.
    """
    first_of = {path.parent: path for path in reversed(photographs)}
    sizes, unreadable = [], []
    for path in photographs if everything else first_of.values():
        try:
            image = decode_rgb(path, path.read_bytes())
        except (CaptureError, OSError):
            unreadable.append(path)
        else:
            sizes.append((image.shape[0], image.shape[1]))
    return max(sizes, key=max, default=None), unreadable


def _said(error: Exception, folder: Path) -> str:
    """Return a message in one line, less the folder that the row is about."""
    return " ".join(str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "").split())


@contextmanager
def _collected_warnings(texts: list[str]) -> Iterator[None]:
    """Gather what the readers warn of, in place of showing it in the midst of a table."""

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    logger, gather = logging.getLogger("gsn.captures"), Gather(logging.WARNING)
    propagated = logger.propagate
    logger.addHandler(gather)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagated
        logger.removeHandler(gather)
