"""Names of the photographs whose cameras were solved, where a capture says so."""

import struct
from pathlib import Path

from gsn.captures.capture import CaptureError

# Identifier, quaternion, translation, camera identifier: what stands before the name.
BEFORE_NAME = struct.Struct("<i4d3di")
COUNT = struct.Struct("<Q")
BYTES_PER_POINT = 24  # x, y, identifier of the 3-D point


def read_listed_stems(scene: Path) -> tuple[Path, set[str]] | None:
    """Return the list file and the stems it names: `sparse/0/images.bin`, else `view_imgs.txt`.

    Returns:
        None if the capture has neither.

    Raises:
        CaptureError: `images.bin` is no complete COLMAP file.
    """
    binary, text = scene / "sparse" / "0" / "images.bin", scene / "view_imgs.txt"
    if binary.is_file():
        return binary, {Path(name).stem for name in names_in_images_bin(binary)}
    if text.is_file():
        lines = (line.strip() for line in text.read_text("utf-8", errors="replace").splitlines())
        return text, {Path(line).stem for line in lines if line}
    return None


def names_in_images_bin(path: Path) -> list[str]:
    """Read the file names of the images of a COLMAP model, in the order of the file.

    Raises:
        CaptureError: The file ends too early or goes on after the last image.
    """
    data = path.read_bytes()
    names = []
    try:
        (n_images,) = COUNT.unpack_from(data)
        at = COUNT.size
        for _ in range(n_images):
            at += BEFORE_NAME.size
            end = data.index(b"\0", at)
            names.append(data[at:end].decode())
            (n_points,) = COUNT.unpack_from(data, end + 1)
            at = end + 1 + COUNT.size + n_points * BYTES_PER_POINT
    except (struct.error, ValueError) as error:
        raise CaptureError(f"{path}: not a complete COLMAP images.bin ({error})") from error
    if at != len(data):
        raise CaptureError(f"{path}: {len(data)} bytes, expected {at} for {n_images} images")
    return names
