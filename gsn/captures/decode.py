"""Bytes of a JPEG or PNG file → pixels; a file that is cut off or damaged is an error.

OpenCV fills the missing end of a truncated file with grey, so completeness is checked first.
"""

import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from gsn.captures.capture import ByteArray, CaptureError

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# After the start of the scan: any marker but a stuffed zero and the eight restart markers.
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
JPEG_END = 0xD9


def decode_rgb(path: Path, data: bytes) -> ByteArray:  # (H, W, 3)
    """Turn an image file into 8-bit RGB.

    Pixels stay as they are stored: an EXIF orientation is not applied, for the cameras were solved
    from stored pixels. Grey becomes three equal channels, alpha is dropped, of 16 bits the upper
    range is kept (65535 → 255), a palette is resolved.

    Raises:
        CaptureError: The file is damaged or neither JPEG nor PNG.
    """
    pixels = to_8_bit(decode_stored(path, data))
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


def decode_stored(path: Path, data: bytes) -> npt.NDArray[np.generic]:
    """Turn an image file into the channels it has: (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA.

    Raises:
        CaptureError: The file is damaged or neither JPEG nor PNG.
    """
    fault = _fault(data)
    pixels = None
    if fault is None:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            fault = str(error)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise CaptureError(
            f"{path}: {fault or 'the image cannot be decoded'} ({len(data)} bytes); expected a "
            "whole JPEG or PNG file: copy it again from where it came"
        )
    return pixels


def to_8_bit(pixels: npt.NDArray[np.generic]) -> ByteArray:
    """Return 8-bit values; those of 16 bits are divided by 257 and rounded."""
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return pixels.astype(np.uint8, copy=False)


def _fault(data: bytes) -> str | None:
    """Say what is wrong with the structure of the file; None if it is whole."""
    if not data:
        return "the file is empty"
    if data.startswith(PNG_START):
        return _fault_of_png(data)
    if data.startswith(JPEG_START):
        return _fault_of_jpeg(data)
    return f"neither JPEG nor PNG (it begins with {data[:8]!r})"


def _fault_of_png(data: bytes) -> str | None:
    """Walk the chunks (length, type, data, CRC) up to IEND."""
    at = len(PNG_START)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            whole = end + 4 <= len(data)
            return f"PNG chunk {kind!r} is damaged" if whole else "the PNG file is cut off"
        if kind == b"IEND":
            return None
        at = end + 4
    return "the PNG file is cut off"


def _fault_of_jpeg(data: bytes) -> str | None:
    """Walk the segments (marker, length, data); in a scan, from marker to marker, up to EOI."""
    at, in_scan = 2, False
    while True:
        found = JPEG_MARKER.search(data, at) if in_scan else JPEG_MARKER.match(data, at)
        if found is None:
            return "the JPEG file is cut off" if in_scan or at >= len(data) else _NO_MARKER
        marker, at = found.group(1)[0], found.end()
        if marker == JPEG_END:
            return None
        if marker != 0x01:  # the one other marker without a length
            at += int.from_bytes(data[at : at + 2])
        in_scan = in_scan or marker == 0xDA


_NO_MARKER = "the JPEG file is damaged: a segment does not begin where it should"
