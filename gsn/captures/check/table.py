"""The reports of captures as lines of text."""

from collections.abc import Sequence

from gsn.captures.check.check_capture import SceneReport
from gsn.captures.check.verdict import Measures
from gsn.captures.images import Size
from gsn.text_table import text_table

HEADINGS = (
    "scene",
    "format",
    "views",
    "size",
    "focal px",
    "field",
    "depth",
    "baseline",
    "forward",
    "epi px",
    "files",
    "verdict",
)
NUMBERS = ("views", "focal px", "field", "baseline", "epi px")  # aligned on the right
UNKNOWN = "–"


def table(reports: Sequence[SceneReport]) -> list[str]:
    """Return a line for each capture below a line of headings."""
    return text_table(HEADINGS, [_row(report) for report in reports], NUMBERS)


def reasons(report: SceneReport) -> str:
    """Return the verdict on a capture with what it rests on, in one line."""
    texts = [finding.text for finding in report.findings]
    return printable(
        ": ".join([report.verdict.name.lower(), *(["; ".join(texts)] if texts else [])])
    )


def printable(text: str) -> str:
    """Escape line ends, control characters and bytes that are no text, as file names have them."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _row(report: SceneReport) -> tuple[str, ...]:
    measures = report.measures
    return (
        printable(report.name),
        report.format or UNKNOWN,
        str(measures.n_views) if measures else UNKNOWN,
        _size(report.stored_size, measures),
        *(_numbers(measures) if measures else (UNKNOWN,) * 6),
        _files(report),
        reasons(report),
    )


def _numbers(measures: Measures) -> tuple[str, ...]:
    return (
        f"{measures.focal_px:.0f}",
        f"{measures.field_of_view_deg:.0f}°",
        f"{measures.near:.2f} to {measures.far:.1f}",
        f"{measures.baseline:.2f}",
        f"{'yes' if measures.forward_facing else 'no'} ({measures.spread_deg:.0f}°)",
        f"{measures.agreement.error_px:.2f}" if measures.agreement.judged.any() else UNKNOWN,
    )


def _size(stored: Size | None, measures: Measures | None) -> str:
    """Show the size that the other columns are about, and the stored one if it is another."""
    sizes = [size for size in (measures.size if measures else None, stored) if size is not None]
    shown = [f"{columns}×{rows}" for rows, columns in dict.fromkeys(sizes)]
    return " of ".join(shown) or UNKNOWN


def _files(report: SceneReport) -> str:
    bad = report.unreadable
    if not bad:
        return str(report.n_photographs or UNKNOWN)
    more = ", ..." if len(bad) > 3 else ""
    return printable(f"{report.n_photographs}, {len(bad)} unreadable: {', '.join(bad[:3])}{more}")
