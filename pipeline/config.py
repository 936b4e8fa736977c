"""Settings: a section of params.yaml becomes a frozen dataclass, or a readable error.

A section type is a frozen pydantic dataclass without defaults that forbids extra keys, so that
params.yaml alone holds values. It stands in the stage that reads it; `ScenesConfig`, which several
stages read, stands here.
"""

import json
import re
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
LONGEST_VALUE = 80  # characters of a wrong value that a message shows


class ParamsError(ValueError):
    """params.yaml cannot be used; the message names file, section, key, expected and found."""


@dataclass(frozen=True, config=STRICT)
class ScenesConfig:
    """Section `scenes` of params.yaml: which captures there are, and what each is for."""

    train: list[str]  # folder names; the model learns from these
    test: list[str]  # the model never sees these before the evaluation

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("'train' is empty: expected at least one scene")
        for name in self.all_scenes:
            check_scene_name(name)
        twice = [name for name, count in Counter(self.all_scenes).items() if count > 1]
        if twice:
            raise ValueError(f"scenes named more than once in 'train' and 'test': {twice}")

    @property
    def all_scenes(self) -> list[str]:
        """Training scenes, then test scenes."""
        return [*self.train, *self.test]


def check_scene_name(name: str) -> None:
    """Refuse a name that is no plain folder name.

    Raises:
        ValueError: The name could leave its folder, be hidden, look like an option or like a
            half-written file.
    """
    plain = re.fullmatch(r"[^\s./\\-]([^/\\]*[^\s/\\])?", name) is not None and name.isprintable()
    if not plain or name.endswith(".partial"):
        raise ValueError(
            f"scene name {name!r}: expected a folder name without '/' and '\\', not starting with "
            "'.' or '-', without blanks around it, not ending in '.partial'"
        )


def load_section(params: Path, name: str, section_type: type[T]) -> T:
    """Read one section of a YAML file into its type.

    Raises:
        ParamsError: The file or the section is missing, the YAML is broken or repeats a key, a key
            is missing, unknown or of the wrong type.
    """
    sections = _read_yaml(params)
    if not isinstance(sections, dict):
        raise ParamsError(f"{params}: expected sections `name: ...`, got {_shown(sections)}")
    if name not in sections:
        raise ParamsError(f"{params}: no section {name!r}; it has: {', '.join(map(str, sections))}")
    try:
        # As JSON: there, and not from Python objects, strict types still take a list for a tuple
        # and a mapping for a nested dataclass.
        text = json.dumps(sections[name], default=str)
        return TypeAdapter(section_type).validate_json(text)
    except ValidationError as error:
        faults = [_fault(fault, section_type) for fault in error.errors(include_url=False)]
        raise ParamsError(f"{params}: section {name!r}: {'; '.join(faults)}") from error


def _read_yaml(params: Path) -> object:
    try:
        text = params.read_text(encoding="utf-8")
    except OSError as error:
        raise ParamsError(f"{params}: cannot read the settings: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{params}: expected UTF-8 text: {error}") from error
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ParamsError(f"{params}: broken YAML: {' '.join(str(error).split())}") from error


def _fault(fault: Any, section_type: type) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    """Say in a few words what pydantic found wrong with one key."""
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"key {place!r} is missing"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = ""
        if len(fault["loc"]) == 1 and is_dataclass(section_type):
            known = f" (known: {', '.join(field.name for field in fields(section_type))})"
        return f"unknown key {place!r}{known}"
    where = f"key {place!r}: " if place else ""
    if fault["type"] == "value_error":
        return where + str(fault["ctx"]["error"])
    expected = fault["msg"].replace("Input should be", "expected", 1)
    return f"{where}{expected}, got {_shown(fault['input'])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but a key stands once in a mapping, and 5e-4 is a number."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
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
