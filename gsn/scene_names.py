"""Names of scenes: those of their folders, and of the files that are made of them."""

import re

from gsn.strict_yaml import shown

LONGEST_NAME = 200  # bytes; file systems take 255, of which suffixes need some


def check_scene_name(name: str) -> None:
    """Refuse a name that is no plain folder name.

    Raises:
        ValueError: The name could leave its folder, be hidden, look like an option or like a
            half-written file.
    """
    plain = re.fullmatch(r"[^\s./\\-]([^/\\]*[^\s/\\])?", name) is not None and name.isprintable()
    if not plain or name.endswith(".partial") or len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"scene name {shown(name)}: expected a folder name without '/' and '\\', not starting "
            "with '.' or '-', without blanks around it, not ending in '.partial', of at most "
            f"{LONGEST_NAME} bytes"
        )
