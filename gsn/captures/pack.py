"""The prepared pack: one HDF5 file a scene, what every stage after `prepare` reads.

    attributes    format, format_version, near, far
    view_names    (V,) UTF-8        image_sha256  (V,) hash of the photograph as it was found
    held_out      (V,) bool         True where a view is kept from training
    intrinsics    (V, 3, 3)         cam_to_world  (V, 4, 4)
    images        (V, H, W, 3) uint8 RGB, one chunk a view
    labels        (K,) UTF-8, mask_present (V,) bool, masks (V, H, W) uint8    only with masks
    depth         (V, H, W) float32                                            only where known

The file is sealed (`gsn.seal`): every opening reads it once and finds a flipped byte. No timestamp
and no path is stored: equal input gives equal bytes.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from gsn.atomic import complete_or_absent
from gsn.captures.capture import ByteArray, Capture, FloatArray
from gsn.checks import check_shape
from gsn.seal import check_seal, write_sealed

FORMAT = "gsn-pack"
FORMAT_VERSION = 2
BoolArray = npt.NDArray[np.bool_]


class PackError(ValueError):
    """A file is no pack that this version reads; the message names the file and what was found."""


class Pack:
    """An open pack: names, split and cameras in memory, pixels read a view at a time."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.name = path.stem
        self.view_names: tuple[str, ...] = _read_texts(file["view_names"])
        self.image_sha256: tuple[str, ...] = _read_texts(file["image_sha256"])
        self.held_out: BoolArray = file["held_out"][:]  # (V,)
        self.intrinsics: FloatArray = file["intrinsics"][:]  # (V, 3, 3)
        self.cam_to_world: FloatArray = file["cam_to_world"][:]  # (V, 4, 4)
        self.near = float(file.attrs["near"])
        self.far = float(file.attrs["far"])
        self._images: h5py.Dataset = file["images"]
        self._masks: h5py.Dataset | None = file.get("masks")
        self._depth: h5py.Dataset | None = file.get("depth")
        self.n_views = len(self.view_names)
        has_masks = self._masks is not None
        self.labels: tuple[str, ...] = _read_texts(file["labels"]) if has_masks else ()
        self.mask_present: BoolArray = (
            file["mask_present"][:] if has_masks else np.zeros(self.n_views, dtype=np.bool_)
        )

    @property
    def image_size(self) -> tuple[int, int]:
        """Rows and columns of every view."""
        return int(self._images.shape[1]), int(self._images.shape[2])

    @property
    def has_depth(self) -> bool:
        """Whether the depth of the views is known."""
        return self._depth is not None

    def image(self, view: int) -> ByteArray:  # (H, W, 3)
        """Read one photograph, RGB."""
        return np.asarray(self._images[view], dtype=np.uint8)

    def images(self) -> ByteArray:  # (V, H, W, 3)
        """Read all photographs, RGB."""
        return np.asarray(self._images[:], dtype=np.uint8)

    def mask(self, view: int) -> ByteArray:  # (H, W)
        """Read the objects of one view: k + 1 where `labels[k]` is seen, else 0.

        Raises:
            ValueError: The view has no mask.
        """
        if self._masks is None or not self.mask_present[view]:
            raise ValueError(f"{self.path}: view {self.view_names[view]!r} has no mask")
        return np.asarray(self._masks[view], dtype=np.uint8)

    def depth(self, view: int) -> npt.NDArray[np.float32]:  # (H, W)
        """Read the depth of one view in scene units, along the optical axis; NaN where unknown.

        Raises:
            ValueError: The pack has no depth.
        """
        if self._depth is None:
            raise ValueError(f"{self.path}: no depth in this pack")
        return np.asarray(self._depth[view], dtype=np.float32)


@contextmanager
def open_pack(path: Path) -> Iterator[Pack]:
    """Open a pack to read.

    Raises:
        FileNotFoundError: There is no such file.
        PackError: The file is damaged, no pack, or a pack of another version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such pack; prepare the scene first")
    check_seal(path, PackError)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise PackError(
            f"{path}: not a readable HDF5 file ({error}); prepare the scene again"
        ) from error
    with file:
        yield _parse(path, file)


def write_pack(path: Path, capture: Capture, held_out: BoolArray) -> None:
    """Write a capture and its split; the file is either complete or absent.

    Args:
        path: The stem becomes the name of the scene.
        capture: What a reader returned.
        held_out: (V,) True where a view is kept from training.

    Raises:
        ValueError: The arrays of the capture do not fit one another.
    """
    _check(capture, held_out)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _write(file, capture, held_out)
    with complete_or_absent(path) as partial:
        write_sealed(partial, content.getbuffer())


def _write(file: h5py.File, capture: Capture, held_out: BoolArray) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["near"] = float(capture.near)
    file.attrs["far"] = float(capture.far)
    _write_texts(file, "view_names", capture.view_names)
    _write_texts(file, "image_sha256", capture.image_sha256)
    file["held_out"] = held_out
    file["intrinsics"] = np.asarray(capture.intrinsics, dtype=np.float64)
    file["cam_to_world"] = np.asarray(capture.cam_to_world, dtype=np.float64)
    _write_views(file, "images", capture.images, None)
    if capture.masks is not None:
        _write_texts(file, "labels", capture.masks.labels)
        file["mask_present"] = capture.masks.present
        _write_views(file, "masks", capture.masks.values, "gzip")
    if capture.depth is not None:
        _write_views(file, "depth", capture.depth.astype(np.float32), "gzip")


def _parse(path: Path, file: h5py.File) -> Pack:
    kind, version = file.attrs.get("format"), file.attrs.get("format_version")
    if kind != FORMAT or version != FORMAT_VERSION:
        raise PackError(
            f"{path}: expected format {FORMAT!r} version {FORMAT_VERSION}, found {kind!r} version "
            f"{version}; prepare the scene again"
        )
    try:
        return Pack(path, file)
    except (KeyError, OSError) as error:
        raise PackError(f"{path}: damaged pack ({error}); prepare the scene again") from error


def _check(capture: Capture, held_out: BoolArray) -> None:
    sizes = check_shape("images", capture.images, "V H W 3")
    check_shape("held_out", held_out, "V", sizes)
    check_shape("intrinsics", capture.intrinsics, "V 3 3", sizes)
    check_shape("cam_to_world", capture.cam_to_world, "V 4 4", sizes)
    if capture.masks is not None:
        check_shape("masks.values", capture.masks.values, "V H W", sizes)
        check_shape("masks.present", capture.masks.present, "V", sizes)
        if capture.masks.values.max(initial=0) > len(capture.masks.labels):
            raise ValueError(f"{capture.name}: masks hold values beyond {capture.masks.labels}")
    if capture.depth is not None:
        check_shape("depth", capture.depth, "V H W", sizes)
    if not len(capture.view_names) == len(capture.image_sha256) == sizes["V"]:
        raise ValueError(
            f"{capture.name}: {len(capture.view_names)} view names and "
            f"{len(capture.image_sha256)} hashes for {sizes['V']} images"
        )


def _write_views(
    file: h5py.File, name: str, views: npt.NDArray[np.generic], compression: str | None
) -> None:
    file.create_dataset(
        name,
        data=views,
        chunks=(1, *views.shape[1:]),
        compression=compression,
        shuffle=compression is not None and views.dtype.itemsize > 1,
    )


def _write_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """Write texts of one length: those of varying length take bytes that differ between runs."""
    encoded = [text.encode() for text in texts]
    length = max([1, *(len(text) for text in encoded)])
    file.create_dataset(name, data=encoded, dtype=h5py.string_dtype("utf-8", length))


def _read_texts(dataset: h5py.Dataset) -> tuple[str, ...]:
    return tuple(bytes(text).decode() for text in dataset[:])
