"""Settings: a section of params.yaml becomes a frozen dataclass, or a readable error.

A section type is a frozen pydantic dataclass without defaults that forbids extra keys, so that
params.yaml alone holds values. It stands in the stage that reads it; `ScenesConfig`, which several
stages read, stands here.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from gsn.checks import find_twins
from gsn.scene_names import check_scene_name
from gsn.strict_yaml import parse_yaml, shown, validate

T = TypeVar("T")
# Of params.yaml, whoever reads them.
SECTIONS = frozenset(
    "scenes teacher fetch prepare extract reduce pretrain distill evaluate".split()
)
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


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
        twice = find_twins(self.all_scenes)
        if twice:
            raise ValueError(
                f"scenes named more than once in 'train' and 'test': {twice} (upper and lower "
                "case make no difference)"
            )

    @property
    def all_scenes(self) -> list[str]:
        """Training scenes, then test scenes."""
        return [*self.train, *self.test]


def load_section(params: Path, name: str, section_type: type[T]) -> T:
    """Read one section of a YAML file into its type.

    Raises:
        ParamsError: The file or the section is missing, the YAML is broken or repeats a key, a key
            is missing, unknown or of the wrong type.
    """
    sections = _read_yaml(params)
    if not isinstance(sections, dict):
        raise ParamsError(f"{params}: expected sections `name: ...`, got {shown(sections)}")
    if unknown := sorted(map(str, set(sections) - SECTIONS)):
        raise ParamsError(
            f"{params}: unknown section {shown(unknown[0])}; known: {', '.join(sorted(SECTIONS))}"
        )
    if name not in sections:
        there = ", ".join(key if key.isprintable() else repr(key) for key in sections)
        raise ParamsError(f"{params}: no section {name!r}; it has: {there or 'none'}")
    try:
        return validate(sections[name], section_type)
    except ValueError as error:
        raise ParamsError(f"{params}: section {name!r}: {error}") from error


def _read_yaml(params: Path) -> object:
    try:
        text = params.read_text(encoding="utf-8")
    except OSError as error:
        raise ParamsError(f"{params}: cannot read the settings: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{params}: expected UTF-8 text: {error}") from error
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ParamsError(f"{params}: {error}") from error
