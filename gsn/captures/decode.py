"""Bytes of a JPEG or PNG file → pixels; a file that is cut off, damaged or too large is an error.

By its content, not its name: a PNG called x.jpg is read. Of a CMYK or YCCK JPEG come the colours
that Adobe's inverted inks stand for, without a colour profile.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from gsn.captures.capture import ByteArray, CaptureError
from gsn.captures.image_structure import ImageFault, bytes_to_decode


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
    fault, pixels = "the image cannot be decoded", None
    try:
        whole = np.frombuffer(bytes_to_decode(data), dtype=np.uint8)
        pixels = cv2.imdecode(whole, cv2.IMREAD_UNCHANGED)
    except ImageFault as error:
        fault = str(error)
    except (cv2.error, MemoryError) as error:
        fault = f"{fault} ({' '.join(str(error).split())})"
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise CaptureError(
            f"{path}: {fault} ({len(data)} bytes); expected a whole JPEG or PNG file: copy it "
            "again from where it came"
        )
    return pixels


def to_8_bit(pixels: npt.NDArray[np.generic]) -> ByteArray:
    """Return 8-bit values; those of 16 bits are divided by 257 and rounded."""
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return pixels.astype(np.uint8, copy=False)
