"""A seal: a file ends with a checksum of all its other bytes, so that no flipped byte is read.

What HDF5 and zip (.npz, .pt) check themselves leaves out attributes, names, sizes and dates; their
readers do not mind what follows. The checksum is CRC-32C, as that of the feature maps: it finds
every change within 32 bits in a row, at several GB/s on one core.

Such files are made in memory: on a full disk h5py can crash and torch hides the reason.
"""

from pathlib import Path

import google_crc32c

MAGIC = b"\nCRC-32C "
LENGTH = len(MAGIC) + 8  # and 8 hexadecimal digits
BLOCK_BYTES = 1 << 20
ZIP_START = b"PK\x03\x04"
ZIP_COMMENT_LENGTH = 2  # bytes at the end of an archive without a comment


class SealError(ValueError):
    """A file is not as it was written; the message names it."""


def write_sealed(path: Path, content: bytes | memoryview) -> None:
    """Write a file that ends with its checksum; to a zip archive it is the comment.

    Args:
        path: Of the file.
        content: All of it; an archive must have no comment yet.
    """
    parts = [memoryview(content)]
    if content[: len(ZIP_START)] == ZIP_START:
        parts = [parts[0][:-ZIP_COMMENT_LENGTH], memoryview(LENGTH.to_bytes(2, "little"))]
    value = 0
    with path.open("wb") as file:
        for part in parts:
            for start in range(0, len(part), BLOCK_BYTES):
                block = bytes(part[start : start + BLOCK_BYTES])
                file.write(block)
                value = google_crc32c.extend(value, block)
        file.write(_ending(value))


def has_seal(path: Path) -> bool:
    """Whether a file ends as a sealed one does, whatever the checksum."""
    return _read_ending(path).startswith(MAGIC)


def check_seal(path: Path, kind: type[ValueError] = SealError) -> None:
    """Read a file and compare its checksum.

    Args:
        path: Of a sealed file.
        kind: Of the error to raise.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Of `kind`: the file is damaged, cut short, or was never sealed.
    """
    if not has_seal(path):
        raise kind(
            f"{path}: damaged, cut short or of an older version: it does not end with its checksum"
        )
    value, left = 0, path.stat().st_size - LENGTH
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
            value = google_crc32c.extend(value, block)
            left -= len(block)
    if _read_ending(path) != _ending(value):
        raise kind(f"{path}: damaged: its checksum differs")


def _ending(checksum: int) -> bytes:
    return MAGIC + f"{checksum:08x}".encode()


def _read_ending(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(LENGTH, path.stat().st_size), 2)
        return file.read()
