"""Structure of a JPEG or PNG file, walked before a decoder sees it: is it whole, how large is it?

A few bytes can promise a picture of terabytes, or text chunks that unpack to minutes of work. So
sizes are read from the headers and bounded here, and of a PNG the decoder gets only the chunks that
hold pixels. OpenCV fills the missing end of a truncated JPEG with grey, so completeness is checked
as well.
"""

import os
import re
import zlib

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# A marker is no stuffed zero and none of the eight restart markers; fill bytes may stand before it.
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
JPEG_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
JPEG_END, JPEG_SCAN, JPEG_WITHOUT_LENGTH = 0xD9, 0xDA, 0x01
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")

MOST_MEGAPIXELS = 200.0  # twice what the largest cameras make; OpenCV itself stops at 2³⁰ pixels
MEGAPIXELS_VARIABLE = "GSN_MAX_MEGAPIXELS"  # in the environment: another limit
MOST_PARTS = 1_000_000  # chunks or segments of one file
MOST_SCANS = 64  # of a progressive JPEG, each of which goes over all pixels; encoders make a dozen


class ImageFault(ValueError):
    """What is wrong with the bytes of an image file, in a few words."""


def bytes_to_decode(data: bytes) -> bytes:
    """Check the structure of an image file and return what of it a decoder needs.

    Raises:
        ImageFault: It is empty, cut off, damaged, too large, or neither JPEG nor PNG.
        ValueError: The limit in the environment is no number.
    """
    if not data:
        raise ImageFault("the file is empty")
    if data.startswith(PNG_START):
        return _walk_png(data)
    if data.startswith(JPEG_START):
        _walk_jpeg(data)
        return data
    raise ImageFault(f"neither JPEG nor PNG (it begins with {data[:8]!r})")


def _walk_png(data: bytes) -> bytes:
    """Walk the chunks (length, type, data, CRC) up to IEND; return the file less its comments.

    Left out are colour profiles, texts and the later frames of an animation: pixels are taken as
    they are stored, of the picture that every viewer shows.
    """
    at, kept, view = len(PNG_START), [PNG_START], memoryview(data)
    for n_parts in range(MOST_PARTS):
        if at + 12 > len(data):
            raise ImageFault("the PNG file is cut off")
        end = at + 8 + int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        if end + 4 > len(data):
            raise ImageFault("the PNG file is cut off")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise ImageFault(f"PNG chunk {kind!r} is damaged")
        if n_parts == 0:
            _check_png_header(kind, data[at + 8 : end])
        if kind in PNG_PIXELS:
            kept.append(data[at : end + 4])
        elif kind[:1].isupper():  # needed to show the picture, says the format
            raise ImageFault(f"PNG chunk {kind!r} is of no known kind")
        if kind == b"IEND":
            return b"".join(kept)
        at = end + 4
    raise ImageFault(f"more than {MOST_PARTS} PNG chunks")


def _check_png_header(kind: bytes, header: bytes) -> None:
    if kind != b"IHDR" or len(header) != 13:
        raise ImageFault("the PNG file does not begin with a header")
    _check_size(int.from_bytes(header[:4]), int.from_bytes(header[4:8]))


def _walk_jpeg(data: bytes) -> None:
    """Walk the segments (marker, length, data); in a scan, from marker to marker, up to EOI."""
    at, n_scans = 2, 0
    for _ in range(MOST_PARTS):
        pattern = JPEG_MARKER_IN_SCAN if n_scans else JPEG_MARKER
        found = pattern.search(data, at) if n_scans else pattern.match(data, at)
        if found is None and (n_scans or at >= len(data)):
            raise ImageFault("the JPEG file is cut off")
        if found is None:
            raise ImageFault("the JPEG file is damaged: a segment does not begin where it should")
        marker, at = found.group(1)[0], found.end()
        if marker == JPEG_END:
            return
        if marker in JPEG_FRAMES:  # length, bits, then rows and columns
            _check_size(
                int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 3 : at + 5])
            )
        n_scans += marker == JPEG_SCAN
        if n_scans > MOST_SCANS:
            raise ImageFault(f"more than {MOST_SCANS} scans in a JPEG file")
        if marker != JPEG_WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2])
    raise ImageFault(f"more than {MOST_PARTS} segments in a JPEG file")


def _check_size(width: int, height: int) -> None:
    if width == 0 or height == 0:
        raise ImageFault(f"its header promises {width}×{height} pixels")
    limit = _most_megapixels()
    if width * height > limit * 1e6:
        raise ImageFault(
            f"its header promises {width}×{height} pixels, more than {limit:g} megapixels (a "
            f"larger limit can be set in the environment: {MEGAPIXELS_VARIABLE})"
        )


def _most_megapixels() -> float:
    text = os.environ.get(MEGAPIXELS_VARIABLE)
    try:
        limit = MOST_MEGAPIXELS if text is None else float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise ValueError(
            f"environment variable {MEGAPIXELS_VARIABLE}={text!r}: expected a positive number of "
            "megapixels: correct it, or unset it"
        )
    return limit
