"""YAML by hand, read without guessing: no key twice, and faults of its keys in plain words.

Text from strangers may be hostile: what PyYAML would follow into a stack overflow, a name of a
Python object or minutes of work (aliases and merge keys that multiply) is refused by count, before
it is built.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

T = TypeVar("T")
LONGEST_VALUE = 80  # characters of a wrong value that a message shows
LONGEST_MESSAGE = 500  # characters of what PyYAML says
MOST_FAULTS = 12  # that one message tells
MOST_BYTES = 1 << 20  # of a text; PyYAML takes some ten seconds for so many
MOST_LEVELS = 32  # of lists and mappings in each other
MOST_VALUES = 100_000  # with each alias counted as the values it stands for
LONGEST_NUMBER = 1000  # characters
LARGEST_INTEGER = 2**63 - 1
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
SURPRISING = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9_]+(:[0-9_]+)+(\.[0-9_]*)?")  # in YAML 1.1
# What no name, path or phrase holds: control characters but tab and line ends, half surrogates.
NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def parse_yaml(text: str | bytes) -> object:
    """Parse YAML 1.1 as PyYAML does, but strictly.

    A key is a text and stands once in a mapping, 5e-4 is a number, a date is a text. Tags are
    refused, and so are 010 and 1:30, which YAML 1.1 reads to other bases; anchors, aliases and
    merge keys are followed as long as all they stand for is short.

    Raises:
        ValueError: It is broken, or longer, deeper or larger than anything written by hand.
    """
    size = len(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    if size > MOST_BYTES:
        raise ValueError(f"{size} bytes of YAML, expected at most {MOST_BYTES}")
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        text = text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."
        raise ValueError(f"broken YAML: {text}") from error


def validate(content: object, form: type[T], nested: type | None = None) -> T:
    """Turn parsed YAML into a strict pydantic dataclass.

    Args:
        content: What was parsed.
        form: The dataclass.
        nested: Dataclass of its nested mappings, if they are all of one, for messages.

    Raises:
        ValueError: A key is missing, unknown or wrong; such faults are named, up to a dozen.
    """
    try:
        faults = _faults_of_values(content)
    except RecursionError as error:
        raise ValueError("values nested in each other too deep") from error
    if not faults:
        try:
            # As JSON: there, and not from Python objects, strict types still take a list for a
            # tuple and a mapping for a nested dataclass.
            return TypeAdapter(form).validate_json(json.dumps(content))
        except ValidationError as error:
            faults = [_fault(fault, form, nested) for fault in error.errors(include_url=False)]
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    raise ValueError("; ".join(faults[:MOST_FAULTS]) + more)


def shown(value: object) -> str:
    """Return a value as a message shows it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _faults_of_values(value: object, place: str = "") -> list[str]:
    """Name the values that no setting can have, whatever its type."""
    if isinstance(value, Mapping):
        children = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(str(k), child) for k, child in enumerate(value)]
    else:
        fault = _fault_of_value(value)
        where = f"key {place!r}: " if place else ""
        return [f"{where}{fault}, got {shown(value)}"] if fault else []
    return [
        fault
        for key, child in children
        for fault in _faults_of_values(child, f"{place}.{key}" if place else key)
    ]


def _fault_of_value(value: object) -> str | None:
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "expected a number of at most 64 bits"
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number"
    if isinstance(value, str) and NO_TEXT.search(value):
        return "expected a text without control characters"
    return None


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
    """SafeLoader that counts what it builds."""

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self._level = 0
        # Values below each finished node, itself included; an alias brings the node again.
        self._n_values: dict[yaml.Node, int] = {}

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:  # noqa: ANN401
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if getattr(event, "tag", None) not in (None, "!"):
            raise ComposerError(None, None, f"tag {shown(event.tag)} is not read", mark)
        self._level += 1
        if self._level > MOST_LEVELS:
            raise ComposerError(None, None, f"more than {MOST_LEVELS} levels deep", mark)
        node = super().compose_node(parent, index)
        assert node is not None
        self._level -= 1
        if isinstance(event, yaml.AliasEvent) and node not in self._n_values:
            raise ComposerError(None, None, f"alias {event.anchor!r} stands in itself", mark)
        # The nodes so far, too: a long list is refused where it gets too long, not at its end.
        if max(self._count(node), len(self._n_values)) > MOST_VALUES:
            raise ComposerError(None, None, f"more than {MOST_VALUES} values", mark)
        return node

    def _count(self, node: yaml.Node) -> int:
        if node not in self._n_values:
            below: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                below = node.value
            elif isinstance(node, yaml.MappingNode):
                below = [child for pair in node.value for child in pair]
            self._n_values[node] = 1 + sum(self._n_values[child] for child in below)
        return self._n_values[node]

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:  # noqa: ANN401
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        # Digits to the base of 60 (1:30:00) take time that grows with the square of their number.
        if node.tag != TEXT and len(node.value) > LONGEST_NUMBER:
            problem = f"a number of {len(node.value)} characters"
            raise ComposerError(None, None, problem, node.start_mark)
        if node.tag != TEXT and SURPRISING.fullmatch(node.value):
            problem = f"{shown(node.value)} would be read to the base of 8 or 60: "
            problem += "write it plainly, or a text in quotes"
            raise ComposerError(None, None, problem, node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            found = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            problem = None
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (TEXT, MERGE):
                problem = "is no text: put it in quotes, if it is meant"
            elif NO_TEXT.search(key.value):
                problem = "has control characters"
            elif key.value in seen:
                problem = "stands twice"
            if problem:
                raise ComposerError(None, None, f"key {found} {problem}", key.start_mark)
            seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        # What the constructors of numbers raise; integers have a largest number of digits.
        except (ValueError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"{shown(node.value)} cannot be read as {kind} ({error})"
            raise ConstructorError(None, None, problem, node.start_mark) from error


# PyYAML wants a dot in front of the exponent and else takes the number for text; DVC does not.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
# A scene called 2020-01-01 keeps its name. A copy, for the table is that of all loaders.
_Loader.yaml_implicit_resolvers = {
    start: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for start, pairs in _Loader.yaml_implicit_resolvers.items()
}
