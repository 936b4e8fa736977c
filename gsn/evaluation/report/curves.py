"""Diagrams as SVG, drawn by matplotlib without its global state. No other module imports it."""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from gsn.evaluation.report.methods import in_order, needs_photo, style_of

FloatArray = npt.NDArray[np.float64]

SIZE_INCHES = (5.6, 3.6)
BAR_INCHES = 0.42  # height of a bar, its gap included
GRID_COLOUR = "#d9dee3"
LINE_WIDTH = 1.6
STUDENT_LINE_WIDTH = 2.4
# Of training stages: none of them is the colour of a method.
SERIES_STYLES = (("#1c1f23", "-"), ("#8a8f98", "-"), ("#1c1f23", ":"), ("#8a8f98", ":"))
SETTINGS: dict[Any, object] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "gsn",  # equal figures give equal bytes
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID_COLOUR,
    "legend.frameon": False,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Series:
    """One line over training steps."""

    label: str  # the stage
    steps: Sequence[int]
    values: Sequence[float]


def precision_recall_figure(curves: Mapping[str, tuple[FloatArray, FloatArray]]) -> str:
    """Draw precision over recall for each method; `curves` holds (recall, precision).

    Raises:
        ValueError: There is no curve.
    """
    if not curves:
        raise ValueError("curves: expected at least one method to draw, got none")
    with matplotlib.rc_context(SETTINGS):
        figure = _figure(*SIZE_INCHES)
        axes = figure.subplots()
        for method in in_order(list(curves)):
            style = style_of(method)
            recall, precision = curves[method]
            (line,) = axes.plot(recall, precision, color=style.colour, label=style.label)
            line.set_linewidth(LINE_WIDTH if style.dashes else STUDENT_LINE_WIDTH)
            if style.dashes:
                line.set_dashes(style.dashes)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure)


def training_figure(quantity: str, series: Sequence[Series]) -> str:
    """Draw a quantity (a loss, a PSNR) over training steps, one line for each stage.

    A quantity whose name holds `loss` gets a logarithmic axis if all of its values are positive.

    Raises:
        ValueError: There is no series.
    """
    if not series:
        raise ValueError(f"{quantity}: expected at least one series to draw, got none")
    with matplotlib.rc_context(SETTINGS):
        figure = _figure(*SIZE_INCHES)
        axes = figure.subplots()
        for number, one in enumerate(series):
            colour, dashes = SERIES_STYLES[number % len(SERIES_STYLES)]
            axes.plot(one.steps, one.values, dashes, color=colour, label=one.label)
        if "loss" in quantity and all(value > 0 for one in series for value in one.values):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="step", ylabel=quantity)
        axes.legend()
        return _svg(figure)


def bars_figure(means: Mapping[str, float], spreads: Mapping[str, float], quantity: str) -> str:
    """Draw the mean of each method as a bar, with its spread where it has one.

    Raises:
        ValueError: There is no method.
    """
    if not means:
        raise ValueError("means: expected at least one method to draw, got none")
    methods = in_order(list(means))
    with matplotlib.rc_context({**SETTINGS, "axes.grid.axis": "x"}):
        figure = _figure(SIZE_INCHES[0], 0.7 + BAR_INCHES * len(methods))
        axes = figure.subplots()
        for place, method in enumerate(methods):
            style, spread = style_of(method), spreads.get(method)
            # What needs the photo of the target view is hollow: it competes with no other.
            fill = "none" if needs_photo(method) else style.colour
            axes.barh(place, means[method], height=0.62, color=fill, edgecolor=style.colour)
            if spread is not None:
                axes.errorbar(means[method], place, xerr=spread, color="black", capsize=3, lw=1)
            end = max(means[method], 0.0) + (spread or 0.0)
            shown = f"{means[method]:.3f}".replace("-", "−")
            axes.annotate(shown, (end, place), (5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(methods)), [style_of(method).label for method in methods])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel(quantity)
        return _svg(figure)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _svg(figure: Figure) -> str:
    """Return the `<svg>` element, with ids that no other figure of the page has."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=NO_METADATA, transparent=True)
    text = buffer.getvalue()
    element = text[text.index("<svg") :].strip()
    prefix = "f" + hashlib.sha256(element.encode()).hexdigest()[:10] + "-"
    # Only within tags: a label may hold anything, but its < is always escaped.
    return re.sub(r"<[^>]*>", lambda tag: _with_prefix(tag.group(), prefix), element)


def _with_prefix(tag: str, prefix: str) -> str:
    tag = re.sub(r'\bid="', f'id="{prefix}', tag)
    return tag.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
