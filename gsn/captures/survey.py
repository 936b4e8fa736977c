"""What the packs hold, less the pixels: names, sizes and hashes; and the pixels, one at a time."""

from collections.abc import Collection, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gsn.captures.capture import ByteArray
from gsn.captures.pack import open_pack
from gsn.fingerprint import sha256_of_array

N_THREADS = 8  # a hash is computed while another pack is read


@dataclass(frozen=True)
class PackSurvey:
    """One pack."""

    path: Path
    view_names: tuple[str, ...]
    held_out: tuple[bool, ...]  # of each view
    image_size: tuple[int, int]  # H, W of all views
    image_sha256: tuple[str, ...]  # of the pixels of each view, as `sha256_of_array` gives it

    @property
    def scene(self) -> str:
        """Name of the scene."""
        return self.path.stem


@dataclass(frozen=True)
class View:
    """One view of a pack."""

    pack: PackSurvey
    number: int

    @property
    def place(self) -> str:
        """Name it, for messages."""
        return f"{self.pack.path}: view {self.pack.view_names[self.number]!r}"


def survey_packs(paths: Collection[Path]) -> list[PackSurvey]:
    """Read every photograph of these packs once, and keep none.

    Raises:
        FileNotFoundError: A pack is missing.
        PackError: A file is no pack.
    """
    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(_survey, paths))


def _survey(path: Path) -> PackSurvey:
    with open_pack(path) as pack:
        return PackSurvey(
            path=path,
            view_names=pack.view_names,
            held_out=tuple(pack.held_out.tolist()),
            image_size=pack.image_size,
            image_sha256=tuple(sha256_of_array(pack.image(view)) for view in range(pack.n_views)),
        )


def photographs(views: Iterable[View]) -> Generator[tuple[View, ByteArray], None, None]:
    """Read the photograph (H, W, 3) of each view, in order; one pack is open at a time."""
    for path, of_one_pack in groupby(views, key=lambda view: view.pack.path):
        with open_pack(path) as pack:
            for view in of_one_pack:
                yield view, pack.image(view.number)
