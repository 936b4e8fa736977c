"""Feature maps on disk, the only module that imports zarr: a zarr array (format 3) a scene.

    <scene>.zarr/zarr.json        float16 (V, h, w, C); the attributes say what made each map, and
                                  hold the SHA-256 of this file with that very hash zeroed
    <scene>.zarr/c.<view>.0.0.0   one map: its values, little-endian, and their CRC-32C

A file is written under another name and renamed, and never changed afterwards: it may be a hard
link into a cache. zarr reads a missing chunk as zeros; here that is an error. The maps are read and
written without zarr, whose one thread of its own is slower than a disk.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, MemoryStore

from gsn.atomic import naming, partial_path
from gsn.checks import check_shape
from gsn.fingerprint import sha256_of_array, sha256_of_settings
from gsn.geometry.cell_grid import CellGrid

FORMAT = "gsn-feature-maps 2"
METADATA = "zarr.json"
CHECKSUM_BYTES = 4
HASH_KEY = "sha256_of_this_file"
NO_HASH = "0" * 64
HASH_PATTERN = re.compile(rf'"{HASH_KEY}": "([0-9a-f]{{{len(NO_HASH)}}})"'.encode())
STORED = np.dtype("<f2")  # whatever the machine
HalfArray = npt.NDArray[np.float16]


class StoreError(ValueError):
    """Feature maps cannot be used; the message names the file and what was found."""


def view_fingerprint(made_by: Mapping[str, object], image: npt.NDArray[np.uint8]) -> str:
    """Say what a map was made of: the teacher's fingerprint and the pixels it saw."""
    return map_fingerprint(made_by, sha256_of_array(image))


def map_fingerprint(made_by: Mapping[str, object], image_sha256: str) -> str:
    """Say the same from the hash of the pixels, as `sha256_of_array` gives it."""
    return sha256_of_settings({"made_by": made_by, "image": image_sha256})


@dataclass(frozen=True)
class StoreHeader:
    """All that is known of a store before any map is computed."""

    made_by: dict[str, object]  # fingerprint of the teacher, or of basis and features
    view_names: tuple[str, ...]
    fingerprints: tuple[str, ...]  # of each view; a map is reused where it is the same
    map_shape: tuple[int, int, int]  # h, w, C
    cell_grid: CellGrid
    image_size: tuple[int, int]  # H, W of the photographs

    @property
    def map_bytes(self) -> int:
        """Size of the file of one map."""
        return int(np.prod(self.map_shape)) * np.dtype(np.float16).itemsize + CHECKSUM_BYTES

    def document(self) -> bytes:
        """Return the metadata file: equal headers, equal bytes."""
        files: dict[str, Buffer] = {}
        zarr.create_array(
            MemoryStore(files),
            shape=(len(self.view_names), *self.map_shape),
            chunks=(1, *self.map_shape),
            dtype=np.float16,
            fill_value=0,
            filters=None,
            compressors=[Crc32cCodec()],
            chunk_key_encoding={"name": "default", "separator": "."},
            attributes=json.loads(
                json.dumps({"format": FORMAT, **asdict(self), HASH_KEY: NO_HASH})
            ),
        )
        document = files[METADATA].to_bytes()
        start, end = _place_of_hash(document)
        return document[:start] + _hash_of(document) + document[end:]

    @staticmethod
    def read(folder: Path) -> "StoreHeader":
        """Read the metadata of the store in a folder.

        Raises:
            FileNotFoundError: There is none.
            StoreError: It is damaged or of another format.
        """
        path = folder / METADATA
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: no feature maps here")
        try:
            document = path.read_bytes()
            values = json.loads(document)["attributes"]
            if values["format"] != FORMAT:
                raise StoreError(f"{path}: expected {FORMAT!r}, found {values['format']!r}")
            start, end = _place_of_hash(document)
            if document[start:end] != _hash_of(document):
                raise StoreError(f"{path}: damaged: its hash differs")
            return StoreHeader(
                made_by=dict(values["made_by"]),
                view_names=tuple(values["view_names"]),
                fingerprints=tuple(values["fingerprints"]),
                map_shape=tuple(values["map_shape"]),
                cell_grid=CellGrid(*(tuple(pair) for pair in values["cell_grid"].values())),
                image_size=tuple(values["image_size"]),
            )
        except StoreError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise StoreError(f"{path}: not the metadata of feature maps: {error!r}") from error


def _place_of_hash(document: bytes) -> tuple[int, int]:
    """Find the hash of a metadata file in it; a quote in any name would be escaped."""
    found = list(HASH_PATTERN.finditer(document))
    if len(found) != 1:
        raise ValueError(f"expected one {HASH_KEY!r}, found {len(found)}")
    return found[0].span(1)


def _hash_of(document: bytes) -> bytes:
    start, end = _place_of_hash(document)
    blank = document[:start] + NO_HASH.encode() + document[end:]
    return hashlib.sha256(blank).hexdigest().encode()


class FeatureMaps:
    """The maps of one scene, read a view at a time; each reading checks the stored checksum."""

    def __init__(self, folder: Path) -> None:
        """Open the store in `folder`.

        Raises:
            FileNotFoundError: There is no store.
            StoreError: Its metadata is damaged or of another format.
        """
        self.path = folder
        self.header = StoreHeader.read(folder)
        try:
            array = zarr.open_array(LocalStore(folder, read_only=True), mode="r")
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{folder / METADATA}: not a zarr array: {error}") from error
        if array.shape != (len(self), *self.header.map_shape):
            raise StoreError(f"{folder / METADATA}: the shape {array.shape} contradicts its header")

    def __len__(self) -> int:
        return len(self.header.view_names)

    def read(self, view: int) -> HalfArray:  # (h, w, C)
        """Read one map.

        Raises:
            IndexError: There is no such view.
            StoreError: The map is missing or damaged.
        """
        if not 0 <= view < len(self):
            raise IndexError(f"{self.path}: no view {view}, it has {len(self)}")
        path = chunk_path(self.path, view)
        name = self.header.view_names[view]
        if not path.is_file():
            raise StoreError(f"{path}: the map of view {name!r} is missing")
        if path.stat().st_size != self.header.map_bytes:
            raise StoreError(
                f"{path}: the map of view {name!r} is damaged: expected "
                f"{self.header.map_bytes} bytes, found {path.stat().st_size}"
            )
        values = np.empty(self.header.map_shape, dtype=STORED)
        with path.open("rb") as file:
            file.readinto(values.data)
            stored = int.from_bytes(file.read(), "little")
        if google_crc32c.value(values) != stored:
            raise StoreError(f"{path}: the map of view {name!r} is damaged: its checksum differs")
        return np.asarray(values, dtype=np.float16)

    def check_all(self) -> None:
        """Read every map once.

        Raises:
            StoreError: One is missing or damaged.
        """
        for view in range(len(self)):
            self.read(view)


def chunk_path(folder: Path, view: int) -> Path:
    """Where the map of a view lies in a store."""
    return folder / f"c.{view}.0.0.0"


class MapWriter:
    """Writes maps into a store under construction; several threads may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Open the store, whose metadata must be there: once, as it takes longer than a map."""
        self._folder = folder
        self._shape = StoreHeader.read(folder).map_shape

    def write(self, view: int, values: HalfArray) -> None:
        """Write the map (h, w, C) of a view; its file appears complete.

        Raises:
            ValueError: The shape is not that of the store's maps, or the type is not float16.
        """
        check_shape("values", values, " ".join(map(str, self._shape)))
        if values.dtype != np.float16:
            raise ValueError(f"values: expected float16, got {values.dtype}")
        stored = np.ascontiguousarray(values, dtype=STORED)
        path = chunk_path(self._folder, view)
        with naming(partial_path(path)), partial_path(path).open("wb") as file:
            file.write(stored.data)
            file.write(google_crc32c.value(stored).to_bytes(CHECKSUM_BYTES, "little"))
        partial_path(path).replace(path)
