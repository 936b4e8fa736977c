"""What the page of a report shows, as data: no layout, no encoding."""

from dataclasses import dataclass, field

from gsn.evaluation.report.pictures import Picture

MethodScores = dict[str, dict[str, float]]  # by method, by metric


@dataclass(frozen=True)
class Panel:
    """A picture under its title."""

    title: str
    picture: Picture
    lossless: bool = False  # PNG, for masks and maps; small pictures are lossless anyway


@dataclass(frozen=True)
class ViewRow:
    """One held-out view: its pictures from left to right, and its scores."""

    view: str
    panels: list[Panel]
    scores: MethodScores = field(default_factory=dict)


@dataclass(frozen=True)
class SceneSection:
    """One scene: its film, its prompts, its means and those of its objects, its held-out views."""

    name: str
    rows: list[ViewRow]
    prompts: list[Panel] = field(default_factory=list)
    means: MethodScores = field(default_factory=dict)
    objects: dict[str, MethodScores] = field(default_factory=dict)  # by name, means over views
    film: bytes | None = None  # an mp4 file
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Curve:
    """A diagram; its SVG goes into the page as it is."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Report:
    """All that one evaluation has to show."""

    title: str
    summary: MethodScores
    scenes: list[SceneSection]
    facts: list[tuple[str, str]] = field(default_factory=list)  # commit, seeds, machine, ...
    curves: list[Curve] = field(default_factory=list)
