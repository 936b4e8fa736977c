"""What may stand in a prompt file: its keys and their types, read from YAML, or a readable error.

Keys that may be absent have a default here: a prompt file is no params.yaml, and an absent key
means that nothing of the kind was drawn.
"""

from pathlib import Path, PureWindowsPath
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from gsn.strict_yaml import parse_yaml, shown, validate

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Text = Annotated[str, Field(pattern=r"\S")]
# Bounds far beyond any photograph, so that a slip of the pen takes no memory.
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
Side = Annotated[int, Field(ge=1, le=32767)]
MOST_PIXELS = 200_000_000  # of the image, for masks of its size are drawn
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
    box: Text | None = None  # PNG of an area that means what a rectangle means

    def __post_init__(self) -> None:
        if not (self.strokes or self.lines or self.points or self.rectangle or self.box):
            raise ValueError(
                "expected at least one of strokes, lines, points, rectangle, box, got none"
            )
        if bool(self.lines) != (self.line_width_px is not None):
            raise ValueError("expected 'lines' and 'line_width_px' together, got one of them")
        for name in (*self.strokes, *([self.box] if self.box is not None else [])):
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
        width, height = self.image_size_px
        if width * height > MOST_PIXELS:
            raise ValueError(
                f"image_size_px: {width}×{height}, expected at most {MOST_PIXELS} pixels in all"
            )


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
        entries = parse_yaml(path.read_bytes())
    except ValueError as error:
        raise PromptError(f"{path}: {error}") from error
    if not isinstance(entries, dict):
        raise PromptError(
            f"{path}: expected keys `version: 1`, `object: ...`, got {shown(entries)}"
        )
    try:
        if "text" in entries:
            return validate(entries, TextForm)
        return validate(entries, PixelForm, Marks)
    except ValueError as error:
        kind = "text" if "text" in entries else "pixels"
        raise PromptError(f"{path}: a prompt by {kind}: {error}") from error
