"""YAML by hand, read without guessing: no key twice, and faults of its keys in plain words."""

import json
import re
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
LONGEST_VALUE = 80  # characters of a wrong value that a message shows


def parse_yaml(text: str | bytes) -> object:
    """Parse YAML 1.1 as PyYAML does, but a key stands once in a mapping, and 5e-4 is a number.

    Raises:
        ValueError: It is broken.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError) as error:  # such as a date in month 13
        raise ValueError(f"broken YAML: {' '.join(str(error).split())}") from error


def validate(content: object, form: type[T], nested: type | None = None) -> T:
    """Turn parsed YAML into a strict pydantic dataclass.

    Args:
        content: What was parsed.
        form: The dataclass.
        nested: Dataclass of its nested mappings, if they are all of one, for messages.

    Raises:
        ValueError: A key is missing, unknown or wrong; all such faults are named.
    """
    try:
        # As JSON: there, and not from Python objects, strict types still take a list for a tuple
        # and a mapping for a nested dataclass.
        return TypeAdapter(form).validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        faults = [_fault(fault, form, nested) for fault in error.errors(include_url=False)]
        raise ValueError("; ".join(faults)) from error


def shown(value: object) -> str:
    """Return a value as a message shows it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _fault(fault: Any, form: type, nested: type | None) -> str:  # noqa: ANN401  (ErrorDetails)
    """Say in a few words what pydantic found wrong with one key."""
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"key {place!r} is missing"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        owner = form if len(fault["loc"]) == 1 else nested
        known = ""
        if owner is not None and is_dataclass(owner):
            known = f" (known: {', '.join(field.name for field in fields(owner))})"
        return f"unknown key {place!r}{known}"
    where = f"key {place!r}: " if place else ""
    if fault["type"] == "value_error":
        return where + str(fault["ctx"]["error"])
    expected = fault["msg"].replace("Input should be", "expected", 1)
    hint = ": put it in quotes" if fault["type"] == "string_type" else ""
    return f"{where}{expected}, got {shown(fault['input'])}{hint}"


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(
                    None, None, f"key {key.value!r} stands twice", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return node


# PyYAML wants a dot in front of the exponent and else takes the number for text; DVC does not.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
