"""Names of the photographs whose cameras were solved, where a capture says so."""

from pathlib import Path

from gsn.captures.readers.colmap_binary import parse_images
from gsn.captures.user_files import read_bytes


def read_listed_stems(scene: Path) -> tuple[Path, set[str]] | None:
    """Return the list file and the stems it names: `sparse/0/images.bin`, else `view_imgs.txt`.

    Returns:
        None if the capture has neither.

    Raises:
        CaptureError: `images.bin` is no complete COLMAP file.
    """
    binary, text = scene / "sparse" / "0" / "images.bin", scene / "view_imgs.txt"
    if binary.is_file():
        images = parse_images(binary, read_bytes(binary))
        return binary, {Path(image.name).stem for image in images}
    if text.is_file():
        lines = read_bytes(text).decode(errors="replace").splitlines()
        lines = [line.strip() for line in lines]
        return text, {Path(line).stem for line in lines if line}
    return None
