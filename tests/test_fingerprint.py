import hashlib
import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest

from gsn.fingerprint import (
    sha256_of_array,
    sha256_of_code,
    sha256_of_file,
    sha256_of_settings,
)

PLAIN = "def double(x):\n    return 2 * x\n"


def module_of(path):
    """A module that says where it lies; it is not run."""
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    return module


def code_of(tmp_path, source):
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    return sha256_of_code(module_of(path))


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    data = bytes(range(256)) * 9999
    (tmp_path / "file").write_bytes(data)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_value_type_and_shape_of_an_array_count():
    array = np.arange(6, dtype=np.int32)
    others = [array + 1, array.astype(np.uint32), array.reshape(2, 3), array.astype(">i4")]
    hashes = {sha256_of_array(one) for one in [array, *others]}
    assert len(hashes) == 5


def test_the_layout_of_an_array_in_memory_does_not_count():
    array = np.arange(24).reshape(4, 6)
    assert sha256_of_array(array[::2, ::3]) == sha256_of_array(array[::2, ::3].copy())
    assert sha256_of_array(array) == sha256_of_array(np.asfortranarray(array))


def test_the_order_of_keys_does_not_count_and_that_of_values_does():
    first = sha256_of_settings({"a": 1, "b": {"c": [1, 2], "d": None}})
    assert first == sha256_of_settings({"b": {"d": None, "c": [1, 2]}, "a": 1})
    assert first != sha256_of_settings({"a": 1, "b": {"c": [2, 1], "d": None}})
    assert first != sha256_of_settings({"a": "1", "b": {"c": [1, 2], "d": None}})


def test_settings_without_a_json_form_are_refused():
    with pytest.raises(TypeError, match="not JSON serializable"):
        sha256_of_settings({"when": {1, 2}})


@pytest.mark.parametrize(
    "same",
    [
        "# why\ndef double(x):\n\n    return 2 * x  # twice\n",
        '"""What lives here."""\n\n\ndef double(x):\n    return (2 * x)\n',
        'def double(\n    x,\n):\n    """Twice x."""\n    return 2 * x',
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path, same):
    assert code_of(tmp_path, same) == code_of(tmp_path, PLAIN)


def test_the_wording_of_docstrings_does_not_count(tmp_path):
    source = (
        'class A:\n    """{0}"""\n\n    async def b(self):\n        """{0}"""\n        return 1\n'
    )
    assert code_of(tmp_path, source.format("One.")) == code_of(tmp_path, source.format("Two."))
    assert code_of(tmp_path, '"""Nothing."""') == code_of(tmp_path, "# nothing")
    assert code_of(tmp_path, 'def f():\n    """One."""\n') == code_of(
        tmp_path, "def f():\n    pass\n"
    )


@pytest.mark.parametrize(
    "other",
    ["def double(x):\n    return 3 * x\n", "def double(y):\n    return 2 * y\n", PLAIN + "x = 'a'"],
)
def test_statements_count(tmp_path, other):
    assert code_of(tmp_path, PLAIN) != code_of(tmp_path, other)


def test_a_text_that_is_no_docstring_counts(tmp_path):
    assert code_of(tmp_path, "x = 'a'\n'b'") != code_of(tmp_path, "x = 'a'\n'c'")


def test_a_package_is_all_its_files_in_all_its_folders(tmp_path):
    package = tmp_path / "package"
    (package / "sub").mkdir(parents=True)
    init = package / "__init__.py"
    init.write_text('"""A package."""\n')
    hashes = [sha256_of_code(module_of(init))]
    for path in (package / "a.py", package / "sub" / "b.py"):
        path.write_text("x = 1\n")
        hashes.append(sha256_of_code(module_of(init)))
        path.write_text("x = 2\n")
        hashes.append(sha256_of_code(module_of(init)))
    (package / "notes.txt").write_text("not code")
    assert sha256_of_code(module_of(init)) == hashes[-1]
    assert len(set(hashes)) == 5


def test_a_module_of_the_project_is_hashed_from_its_own_file(tmp_path):
    import gsn.atomic
    import gsn.checks

    copy = tmp_path / "copy.py"
    copy.write_bytes(Path(gsn.checks.__file__).read_bytes())
    spec = importlib.util.spec_from_file_location("copy_of_checks", copy)
    assert sha256_of_code(importlib.util.module_from_spec(spec)) == sha256_of_code(gsn.checks)
    assert sha256_of_code(gsn.atomic) != sha256_of_code(gsn.checks)
    assert sha256_of_code(gsn.atomic, gsn.checks) != sha256_of_code(gsn.checks, gsn.atomic)
