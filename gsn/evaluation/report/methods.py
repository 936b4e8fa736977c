"""How the methods of a comparison are called and coloured, in every table and curve alike."""

from dataclasses import dataclass

from gsn.evaluation.views.comparators import CARRIED, COLOUR, MEAN, MODEL, NEAREST, TEACHER


@dataclass(frozen=True)
class MethodStyle:
    """One method as a person sees it.

    Colours are those of Okabe and Ito, "Color Universal Design" (2008), which people of all kinds
    of colour vision tell apart; lines differ by their dashes too.
    """

    label: str
    colour: str  # "#rrggbb"
    dashes: tuple[float, ...]  # of a line, in line widths: on, off, ...; empty: solid
    meaning: str


STYLES = {
    MODEL: MethodStyle("student", "#0072B2", (), "rendered by the model from source views alone"),
    CARRIED: MethodStyle(
        "carried by depth",
        "#009E73",
        (4.0, 1.5),
        "teacher features of source views, carried over by the rendered depth: no learned head",
    ),
    NEAREST: MethodStyle(
        "nearest view", "#E69F00", (1.5, 1.5), "the nearest source view, copied as it is"
    ),
    MEAN: MethodStyle(
        "mean view", "#CC79A7", (5.0, 1.5, 1.0, 1.5), "the mean of the nearest source views"
    ),
    COLOUR: MethodStyle(
        "colour only",
        "#D55E00",
        (3.0, 1.0),
        "rendered colours in place of features; cosines of the two cannot be compared",
    ),
    TEACHER: MethodStyle(
        "teacher on photo",
        "#444444",
        (1.0, 1.0),
        "the teacher run on the true photo of the target view, which no other method has",
    ),
}
OF_OTHERS = "#767676"


def style_of(method: str) -> MethodStyle:
    """Return the style of a method; one that is not known here is grey, under its own name."""
    return STYLES.get(method) or MethodStyle(method.replace("_", " "), OF_OTHERS, (), "")


def needs_photo(method: str) -> bool:
    """Say whether a method sees the photo of the target view: it competes with no other."""
    return method == TEACHER


def in_order(methods: list[str]) -> list[str]:
    """Sort methods: the student, its rivals, those not known here, and last what needs the photo.

    Those that are not known here stay in the order in which they came.
    """
    known = [method for method in STYLES if not needs_photo(method)]
    places = {method: place for place, method in enumerate(known)}
    return sorted(methods, key=lambda m: (needs_photo(m), places.get(m, len(known))))
