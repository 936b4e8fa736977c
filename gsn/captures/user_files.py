"""Files of a capture that others made, read without trust: bytes, arrays and JSON.

Never unpickled, never larger in memory than on disk, and every fault is a `CaptureError`.
"""

import json
import os
from collections import Counter
from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from gsn.captures.capture import CaptureError

MOST_BYTES = 1 << 30  # of a file that is held in memory
MOST_JSON_BYTES = 1 << 26
LONGEST_REASON = 200  # characters of what a library says
NPY_START = b"\x93NUMPY"


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read a whole file.

    Raises:
        CaptureError: It cannot be read, or is larger than any file of its kind.
    """
    try:
        size = path.stat().st_size
        if size > most:
            raise CaptureError(f"{path}: {size} bytes, expected at most {most}: it is another file")
        return path.read_bytes()
    except OSError as error:
        raise CaptureError(
            f"{path}: cannot be read ({error.strerror}): check that it is there and its permissions"
        ) from error


def load_array(path: Path, wanted: str) -> npt.NDArray[np.generic]:
    """Read what `numpy.save` wrote; an array of objects, which would be unpickled, is refused.

    Args:
        path: File of type .npy.
        wanted: What it should hold, for messages.

    Raises:
        FileNotFoundError: There is no such file.
        CaptureError: It is damaged, no .npy file, or promises more numbers than it has.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(NPY_START)) != NPY_START:
                raise ValueError("it does not begin as an .npy file")
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise ValueError(f"it has more than {MOST_BYTES} bytes")
        # Mapped, not read: a header may promise terabytes, which a map compares with the file.
        with np.errstate(over="ignore"):
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise
    # All that a header of random text has been seen to raise in its tokenizer and parser.
    except (ValueError, TypeError, ArithmeticError, OSError, EOFError, SyntaxError, TokenError,
            RecursionError, MemoryError) as error:  # fmt: skip
        reason = (str(error) or type(error).__name__).splitlines()[0][:LONGEST_REASON]
        raise CaptureError(
            f"{path}: cannot be read ({reason}), expected {wanted}: write it again with numpy.save"
        ) from error


def load_json(path: Path) -> object:
    """Read JSON in which a key stands once in an object and every number is finite.

    Raises:
        CaptureError: It is no such text, or cannot be read.
    """
    data = read_bytes(path, MOST_JSON_BYTES)
    try:
        return json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise CaptureError(f"{path}: not readable as JSON: nested too deep") from error
    except ValueError as error:
        raise CaptureError(f"{path}: not readable as JSON: {error}") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"key {twice[0]!r} stands twice")
    return dict(pairs)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) != float("inf") else _refuse_constant(text)
