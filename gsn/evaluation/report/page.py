"""The page of a report: one HTML file that needs no other, no network and no script."""

from html import escape
from importlib.resources import files
from pathlib import Path

from gsn.atomic import complete_or_absent
from gsn.evaluation.report.content import (
    Curve,
    MethodScores,
    Panel,
    Report,
    SceneSection,
    ViewRow,
)
from gsn.evaluation.report.embed import film_uri, is_small, picture_uri
from gsn.evaluation.report.legends import picture_legend, prompt_legend
from gsn.evaluation.report.tables import (
    method_key,
    metrics_table,
    objects_table,
    student_numbers,
    view_table,
)

STYLE_SHEET = "page.css"
LONG_FACT = 36  # characters; beyond it a fact takes two columns
# The browser itself holds the page to what it promises.
NOTHING_FROM_OUTSIDE = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
)


def write_page(path: Path, report: Report) -> None:
    """Write the page; `path` is complete or absent, whenever the process is killed."""
    page = render_page(report)
    with complete_or_absent(path) as partial:
        partial.write_text(page, encoding="utf-8")


def render_page(report: Report) -> str:
    """Lay a report out as HTML. Equal reports give equal pages."""
    style = files(__package__).joinpath(STYLE_SHEET).read_text(encoding="utf-8")
    scenes = "".join(_scene(scene, f"s{n}") for n, scene in enumerate(report.scenes, start=1))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{NOTHING_FROM_OUTSIDE}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{escape(report.title)}</h1>
{_facts(report.facts)}
{_contents(report.scenes)}</header>
<main>
<section><h2>Means over scenes</h2>
{_scores(report)}</section>
{_curves(report.curves)}
{scenes}
</main>
</body>
</html>
"""


def _facts(facts: list[tuple[str, str]]) -> str:
    items = "".join(
        f"<div{_wide(value)}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def _wide(value: str) -> str:
    return ' class="long"' if len(value) > LONG_FACT else ""


def _contents(scenes: list[SceneSection]) -> str:
    links = " ".join(
        f'<a href="#s{number}">{escape(scene.name)}</a>'
        for number, scene in enumerate(scenes, start=1)
    )
    return f"<nav>Scenes: {links}</nav>" if links else ""


def _scores(report: Report) -> str:
    if not report.summary:
        return "<p>No scores.</p>"
    note = '<p class="note">Best value of each column in bold; ± is the spread over prompts.</p>'
    return metrics_table(report.summary) + note + method_key(report.summary)


def _curves(curves: list[Curve]) -> str:
    figures = "".join(
        f'<figure class="curve"><figcaption>{escape(curve.caption)}</figcaption>{curve.svg}'
        "</figure>"
        for curve in curves
    )
    return (
        f'<section><h2>Curves</h2><div class="curves">{figures}</div></section>' if figures else ""
    )


def _scene(scene: SceneSection, anchor: str) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in scene.notes)
    views = "".join(_view(row, f"{anchor}-v{n}") for n, row in enumerate(scene.rows, start=1))
    parts = [
        f'<section class="scene" id="{anchor}"><h2>{escape(scene.name)}</h2>',
        f'<ul class="notes">{notes}</ul>' if notes else "",
        metrics_table(scene.means) if scene.means else "",
        _objects(scene.objects),
        _film(scene.film) if scene.film is not None else "",
        _prompts(scene.prompts, f"{anchor}-prompts") if scene.prompts else "",
        f"<h3>Held-out views</h3>{picture_legend()}{views}" if views else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _objects(objects: dict[str, MethodScores]) -> str:
    table = objects_table(objects)
    note = (
        '<p class="note">IoU from strokes, mean over views: best value of each line in bold; '
        "± is the spread over prompts.</p>"
    )
    return f"<h3>Objects</h3>{table}{note}" if table else ""


def _film(film: bytes) -> str:
    return (
        "<h3>Along the spiral</h3>"
        f'<video controls muted loop playsinline preload="auto" src="{film_uri(film)}"></video>'
    )


def _prompts(prompts: list[Panel], anchor: str) -> str:
    panels = "".join(
        _panel(panel, f"{anchor}-{number}", anchor) for number, panel in enumerate(prompts, start=1)
    )
    return f'<h3 id="{anchor}">Prompts</h3>{prompt_legend()}<div class="panels">{panels}</div>'


def _view(row: ViewRow, anchor: str) -> str:
    panels = "".join(
        _panel(panel, f"{anchor}-{number}", anchor)
        for number, panel in enumerate(row.panels, start=1)
    )
    table = view_table(row.scores)
    return (
        f'<article id="{anchor}"><h4>{escape(row.view)}</h4>{student_numbers(row.scores)}'
        f'<div class="panels">{panels}'
        + (f'<div class="beside">{table}</div>' if table else "")
        + "</div></article>"
    )


def _panel(panel: Panel, anchor: str, home: str) -> str:
    """Show a picture; a click enlarges it to the whole window, and another one brings it back."""
    height, width = panel.picture.shape[:2]
    title = escape(panel.title)
    kind = ' class="cells"' if is_small(panel.picture) else ""
    return (
        f'<figure class="panel" id="{anchor}"><figcaption>{title}</figcaption>'
        f'<a class="enlarge" href="#{anchor}"><img{kind} alt="{title}" width="{width}" '
        f'height="{height}" src="{picture_uri(panel.picture, panel.lossless)}"></a>'
        f'<a class="back" href="#{home}" aria-label="back to the page"></a></figure>'
    )
