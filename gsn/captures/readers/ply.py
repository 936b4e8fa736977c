"""Points of a PLY file, text or binary: only the positions of its vertices."""

import re
from pathlib import Path

import numpy as np

from gsn.captures.capture import CaptureError, FloatArray

LONGEST_HEADER = 65536  # bytes
TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
AXES = ("x", "y", "z")
FARTHEST = 1e12  # numbers beyond it are no positions


def parse_ply(path: Path, data: bytes) -> FloatArray:  # (P, 3)
    """Read the vertices, which must be the first element; the path is for messages.

    Raises:
        CaptureError: The file is no PLY file, is damaged, or its vertices have no finite x, y, z.
    """
    try:
        order, n_vertices, properties, start = _header(data)
        if order == "=":
            table = _text_rows(data[start:], n_vertices, len(properties))
            columns = [list(properties).index(axis) for axis in AXES]
            points = table[:, columns]
        else:
            form = np.dtype([(name, order + kind) for name, kind in properties.items()])
            if n_vertices * form.itemsize > len(data) - start:
                raise ValueError(
                    f"{n_vertices} vertices announced, but {len(data) - start} bytes are left"
                )
            rows = np.frombuffer(data, form, n_vertices, start)
            with np.errstate(invalid="ignore"):  # a signalling NaN
                points = np.stack([rows[axis].astype(np.float64) for axis in AXES], axis=1)
        if not (np.abs(points) < FARTHEST).all():  # NaN included
            raise ValueError(f"a vertex that is not finite, expected numbers below {FARTHEST:g}")
    except ValueError as error:
        raise CaptureError(
            f"{path}: {error}; expected a PLY file of points with x, y and z: copy it again, or "
            "take 'ply_file_path' out of the file of cameras"
        ) from error
    return np.asarray(points, dtype=np.float64)


def _header(data: bytes) -> tuple[str, int, dict[str, str], int]:
    """Return the byte order, the number of vertices, their properties, and where they begin."""
    match = re.search(rb"\r?\nend_header\r?\n", data[:LONGEST_HEADER])
    if not data.startswith(b"ply") or match is None:
        raise ValueError("no PLY header")
    lines = data[: match.start()].decode("ascii", errors="replace").splitlines()[1:]
    order, n_vertices, properties, element = "", -1, dict[str, str](), 0
    for words in (line.split() for line in lines):
        if words[:1] == ["format"] and len(words) > 1:
            order = ORDERS.get(words[1], "")
        elif words[:1] == ["element"]:
            element += 1
            if element == 1:
                n_vertices = _count(words)
        elif words[:1] == ["property"] and element == 1:
            if len(words) != 3 or words[1] not in TYPES or words[2] in properties:
                raise ValueError(f"property {' '.join(words[1:])!r} of vertices, expected numbers")
            properties[words[2]] = TYPES[words[1]]
    if not order or n_vertices < 0 or not set(AXES) <= set(properties):
        raise ValueError("a PLY header without format, vertices, or their x, y and z")
    return order, n_vertices, properties, match.end()


def _count(words: list[str]) -> int:
    if len(words) != 3 or words[1] != "vertex" or not re.fullmatch(r"\d{1,18}", words[2]):
        raise ValueError(f"first element {' '.join(words[1:])!r}, expected 'vertex' and a number")
    return int(words[2])


def _text_rows(data: bytes, n_rows: int, n_columns: int) -> FloatArray:  # (n_rows, n_columns)
    lines = data.decode("ascii").split("\n")
    if n_rows > len(lines):
        raise ValueError(f"{n_rows} vertices announced, but {len(lines)} lines are left")
    rows = [[float(word) for word in line.split()] for line in lines[:n_rows]]
    if any(len(row) != n_columns for row in rows):
        raise ValueError(f"a vertex without its {n_columns} numbers")
    return np.array(rows, dtype=np.float64).reshape(n_rows, n_columns)
