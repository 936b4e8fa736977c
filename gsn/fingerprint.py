"""Hashes that say what made a result: bytes of files and arrays, settings, and code."""

import ast
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt


def sha256_of_file(path: Path) -> str:
    """Hash the bytes of a file, without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_array(array: npt.NDArray[np.generic]) -> str:
    """Hash shape, type and values of an array."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def sha256_of_settings(settings: Mapping[str, object]) -> str:
    """Hash a nest of plain values; the order of keys does not count.

    Raises:
        TypeError: A value has no JSON form.
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def sha256_of_code(*modules: ModuleType) -> str:
    """Hash what modules (packages: all their files) do: source less comments and docstrings."""
    digest = hashlib.sha256()
    for module in modules:
        path = Path(str(module.__file__))
        files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
        for file in files:
            digest.update(_statements(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def _statements(source: str) -> str:
    """Return the source in a normal form that comments, layout and docstrings do not change."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            # A class or function needs a body; a module may be empty.
            rest = node.body[1:]
            node.body = rest if rest or isinstance(node, ast.Module) else [ast.Pass()]
    return ast.unparse(tree)
