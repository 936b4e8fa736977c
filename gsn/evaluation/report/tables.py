"""Scores as HTML tables: methods in rows, metrics in columns, the best of each in bold."""

from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby

from gsn.evaluation.report.columns import SPREAD, Column, columns_of
from gsn.evaluation.report.content import MethodScores
from gsn.evaluation.report.methods import in_order, needs_photo, style_of
from gsn.evaluation.views.comparators import MODEL

VIEW_KEYS = ("psnr_db", "feature_cosine", "iou")  # what is said of a single view
OBJECT_KEY = "iou"  # and of a single object
VIEW_HEADS = {"feature_cosine": "feature cosine"}  # where no group stands above the head
MISSING = "–"
ARROWS = {True: ("↑", "higher is better"), False: ("↓", "lower is better"), None: ("", "")}
PHOTO_MARK = "needs the photo of the target view"


def metrics_table(scores: MethodScores) -> str:
    """Lay out all metrics, grouped, with their spread over seeds.

    The best value of a column is in bold. A method that needs the photo of the target view stands
    below the others and does not take part; nor does one whose value is of another kind.
    """
    columns = columns_of(key for of_method in scores.values() for key in of_method)
    groups = [(name, list(found)) for name, found in groupby(columns, lambda c: c.group)]
    above = "".join(
        f'<th colspan="{len(found)}" scope="colgroup" class="first">{escape(name)}</th>'
        for name, found in groups
    )
    firsts = {found[0].key for _, found in groups}
    heads = "".join(_head(column, column.key in firsts) for column in columns)
    return (
        '<div class="wide"><table class="scores">'
        f'<thead><tr><td></td>{above}</tr><tr><th scope="col">method</th>{heads}</tr></thead>'
        f"<tbody>{_rows(scores, columns, firsts, PHOTO_MARK)}</tbody></table></div>"
    )


def view_table(scores: MethodScores) -> str:
    """Lay out the few metrics of a single view; empty if no method has one of them."""
    columns = _view_columns(scores)
    if not columns:
        return ""
    heads = "".join(_head(column) for column in columns)
    return (
        f'<table class="scores"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{_rows(scores, columns)}</tbody></table>"
    )


def objects_table(objects: Mapping[str, MethodScores]) -> str:
    """Lay out the IoU of each method for every object that has one; empty if none has.

    Args:
        objects: Scores by name of the object.
    """
    (column,) = columns_of([OBJECT_KEY])
    found = {
        label: {
            method: of_method for method, of_method in scores.items() if OBJECT_KEY in of_method
        }
        for label, scores in objects.items()
    }
    methods = in_order(
        list(dict.fromkeys(method for scores in found.values() for method in scores))
    )
    if not methods:
        return ""
    heads = "".join(f'<th scope="col">{_name(method)}</th>' for method in methods)
    rows = []
    for label, scores in found.items():
        best = _best(scores, column)
        cells = "".join(
            _cell(scores.get(method, {}), column, best if _competes(method, column) else None)
            for method in methods
        )
        if scores:
            rows.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    return (
        '<div class="wide"><table class="scores objects">'
        f'<thead><tr><th scope="col">object</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def student_numbers(scores: MethodScores) -> str:
    """List what the student reaches in a single view; empty if nothing is known of it."""
    of_model = scores.get(MODEL, {})
    items = "".join(
        f"<li>{escape(VIEW_HEADS.get(column.key, column.head))} "
        f"<b>{column.show(of_model[column.key])}</b> {escape(column.unit)}</li>"
        for column in _view_columns({MODEL: of_model})
    )
    return f'<ul class="numbers">{items}</ul>' if items else ""


def method_key(methods: Iterable[str]) -> str:
    """Explain the methods, each beside its colour; those not known to this package are left out."""
    items = "".join(
        f"<div><dt>{_name(method)}</dt><dd>{escape(style_of(method).meaning)}</dd></div>"
        for method in in_order(list(methods))
        if style_of(method).meaning
    )
    return f'<dl class="methods">{items}</dl>' if items else ""


def _view_columns(scores: MethodScores) -> list[Column]:
    found = {key for of_method in scores.values() for key in of_method}
    return columns_of(key for key in VIEW_KEYS if key in found)


def _head(column: Column, first: bool = False) -> str:
    arrow, words = ARROWS[column.higher_is_better]
    mark = f'&nbsp;<span class="arrow" title="{words}">{arrow}</span>' if arrow else ""
    head = column.head + (f", {column.unit}" if column.unit else "")
    return f'<th scope="col"{_first(first)}>{escape(head)}{mark}</th>'


def _rows(
    scores: MethodScores, columns: list[Column], firsts: Iterable[str] = (), photo_mark: str = ""
) -> str:
    best = {column.key: _best(scores, column) for column in columns}
    rows = []
    for method in in_order(list(scores)):
        cells = "".join(
            _cell(
                scores[method],
                column,
                best[column.key] if _competes(method, column) else None,
                column.key in firsts,
            )
            for column in columns
        )
        name = _name(method)
        if photo_mark and needs_photo(method):
            name += f'<small class="mark">{photo_mark}</small>'
        kind = ' class="photo"' if needs_photo(method) else ""
        rows.append(f'<tr{kind}><th scope="row">{name}</th>{cells}</tr>')
    return "".join(rows)


def _cell(scores: dict[str, float], column: Column, best: str | None, first: bool = False) -> str:
    value = MISSING
    if column.key in scores:
        shown = column.show(scores[column.key])
        value = f"<b>{shown}</b>" if shown == best else shown
    if (spread := scores.get(column.key + SPREAD)) is not None:
        value += f' <span class="spread">±{column.show(spread)}</span>'
    return f"<td{_first(first)}>{value}</td>"


def _first(first: bool) -> str:
    """Mark the first column of a group: a line stands before it."""
    return ' class="first"' if first else ""


def _competes(method: str, column: Column) -> bool:
    return not needs_photo(method) and method not in column.apart


def _best(scores: MethodScores, column: Column) -> str | None:
    """Return the best value as it is shown: values that look equal are equally good.

    There is none if fewer than two methods compete.
    """
    values = [
        of_method[column.key]
        for method, of_method in scores.items()
        if column.key in of_method and _competes(method, column)
    ]
    if column.higher_is_better is None or len(values) < 2:
        return None
    return column.show(max(values) if column.higher_is_better else min(values))


def _name(method: str) -> str:
    style = style_of(method)
    swatch = f'<span class="swatch" style="background:{style.colour}"></span>'
    return f"{swatch}{escape(style.label)}"
