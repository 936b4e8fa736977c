"""What may stand in a prompt file: its keys and their types, read from YAML, or a readable error.

Keys that may be absent have a default here: a prompt file is no params.yaml, and an absent key
means that nothing of the kind was drawn.
"""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
LONGEST_VALUE = 60  # characters of a wrong value that a message shows

Text = Annotated[str, Field(pattern=r"\S")]
# Bounds far beyond any photograph, so that a slip of the pen takes no memory.
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
Side = Annotated[int, Field(ge=1, le=32767)]
Width = Annotated[int, Field(ge=1, le=1000)]
Point = tuple[Coordinate, Coordinate]  # x, y
Line = Annotated[tuple[Point, ...], Field(min_length=1)]


class PromptError(ValueError):
    """A prompt file cannot be used; the message names file, key, expected, found, what to do."""


@dataclass(frozen=True, config=STRICT)
class Marks:
    """What is drawn for one side of a prompt; together they are their union."""

    strokes: tuple[Text, ...] = ()  # PNG files in the folder of prompts
    lines: tuple[Line, ...] = ()
    line_width_px: Width | None = None  # of the lines
    points: tuple[Point, ...] = ()
    rectangle: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None  # x0 y0 x1 y1

    def __post_init__(self) -> None:
        if not (self.strokes or self.lines or self.points or self.rectangle):
            raise ValueError("expected at least one of strokes, lines, points, rectangle, got none")
        if bool(self.lines) != (self.line_width_px is not None):
            raise ValueError("expected 'lines' and 'line_width_px' together, got one of them")
        for name in self.strokes:
            check_png_name(name)
        if self.rectangle and not (
            self.rectangle[0] <= self.rectangle[2] and self.rectangle[1] <= self.rectangle[3]
        ):
            raise ValueError(
                f"rectangle: expected x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, got "
                f"{list(self.rectangle)}: name the upper left corner first"
            )

    @property
    def corners(self) -> list[Point]:
        """All points that were named, of whatever shape."""
        x0, y0, x1, y1 = self.rectangle or (0, 0, 0, 0)
        corners = [(x0, y0), (x1, y1)] if self.rectangle else []
        return [*self.points, *(point for line in self.lines for point in line), *corners]


@dataclass(frozen=True, config=STRICT)
class PixelForm:
    """A prompt file that points at an object in one view."""

    version: Literal[1]
    object: Text  # its label in the masks of the scene, or any other name
    view: Text  # name of a source view
    image_size_px: tuple[Side, Side]  # width, height of the image that all coordinates are of
    positive: Marks | None = None
    negative: Marks | None = None
    reference: Text | None = None  # PNG of the whole object

    def __post_init__(self) -> None:
        if self.positive is None and self.reference is None:
            raise ValueError("expected 'positive' or 'reference', or 'text' instead, got neither")
        if self.reference is not None:
            check_png_name(self.reference)


@dataclass(frozen=True, config=STRICT)
class TextForm:
    """A prompt file that names an object in words."""

    version: Literal[1]
    object: Text
    text: Text


def check_png_name(name: str) -> None:
    """Refuse what is no path of a PNG inside the folder of prompts.

    Raises:
        ValueError: The path is absolute, goes upwards or ends otherwise.
    """
    path = PureWindowsPath(name)  # parts end at both kinds of slash
    if path.anchor or ".." in path.parts or path.suffix != ".png":
        raise ValueError(
            f"file {name!r}: expected the name of a PNG in the folder of the prompt file, ending "
            "in '.png', without '..': put the picture beside it"
        )


def check_prompt_name(name: str) -> None:
    """Refuse what is no plain name of a file.

    Raises:
        ValueError: The name is empty or hidden, or leads to another folder.
    """
    if name.startswith(".") or PureWindowsPath(name).name != name or not name.strip():
        raise ValueError(
            f"name of a prompt {name!r}: expected a file name without folder and suffix, not "
            "starting with '.'"
        )


def read_form(path: Path) -> PixelForm | TextForm:
    """Read a prompt file and check its keys; the pictures it names are not opened.

    Raises:
        PromptError: The YAML is broken or repeats a key, a key is missing, unknown or wrong.
    """
    try:
        entries = yaml.load(path.read_bytes(), _Loader)
        # As JSON: there, and not from Python objects, strict types still take a list for a tuple.
        text = json.dumps(entries, default=str)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise PromptError(f"{path}: broken YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, dict):
        raise PromptError(f"{path}: expected keys `version: 1`, `object: ...`, got {_shown(text)}")
    form = TextForm if "text" in entries else PixelForm
    adapter: TypeAdapter[PixelForm | TextForm] = TypeAdapter(form)
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        faults = [_fault(fault, form) for fault in error.errors(include_url=False)]
        kind = "text" if form is TextForm else "pixels"
        raise PromptError(f"{path}: a prompt by {kind}: {'; '.join(faults)}") from error


def _fault(fault: Any, form: type) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    """Say in a few words what pydantic found wrong with one key."""
    key = ".".join(str(part) for part in fault["loc"])
    where = f"key {key!r}: " if key else ""
    if fault["type"] == "missing":
        return f"key {key!r} is missing"
    if fault["type"] == "unexpected_keyword_argument":
        owner = form if len(fault["loc"]) == 1 else Marks
        assert is_dataclass(owner)
        return f"unknown key {key!r} (known: {', '.join(field.name for field in fields(owner))})"
    if fault["type"] == "value_error":
        return f"{where}{fault['ctx']['error']}"
    expected = fault["msg"].replace("Input should", "expected to", 1)
    hint = ": put it in quotes" if fault["type"] == "string_type" else ""
    return f"{where}{expected}, got {_shown(repr(fault['input']))}{hint}"


def _shown(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 3] + "..."


class _Loader(yaml.SafeLoader):
    """YAML as PyYAML reads it, but a key stands once in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]!r} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
