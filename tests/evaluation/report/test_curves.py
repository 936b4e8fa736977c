import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import gsn
from gsn.evaluation.report.curves import (
    Series,
    bars_figure,
    precision_recall_figure,
    training_figure,
)
from gsn.evaluation.report.methods import style_of

SVG = "{http://www.w3.org/2000/svg}"
RECALL = np.linspace(0.01, 1, 100)
CURVES = {"teacher_on_photo": (RECALL, 1 - RECALL / 3), "model": (RECALL, 1 - RECALL / 2)}


def texts(svg):
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def colours(svg):
    return set(re.findall(r"(?:stroke|fill): (#[0-9a-f]{6})", svg))


def test_methods_are_drawn_in_their_colours_and_named_in_text():
    svg = precision_recall_figure(CURVES)
    found = texts(svg)
    assert found.index("student") < found.index("teacher on photo")
    assert {"recall", "precision"} <= set(found)
    for method in CURVES:
        assert style_of(method).colour.lower() in colours(svg)
    assert style_of("mean_view").colour.lower() not in colours(svg)


def test_bars_show_the_means_with_a_whisker_where_there_is_a_spread():
    plain = bars_figure({"model": 0.5, "mean_view": 0.25}, {}, "IoU")
    spread = bars_figure({"model": 0.5, "mean_view": 0.25}, {"model": 0.1}, "IoU")
    assert {"0.500", "0.250", "student", "mean view", "IoU"} <= set(texts(plain))
    assert plain.count("-LineCollection_") == 0
    assert spread.count("-LineCollection_") == 1


def bar_widths(svg):
    """Widths of the bars, from the rectangles in their colours."""
    paths = re.findall(r'd="M ([\d. LMzZ\n-]+)" clip-path="[^"]*" style="fill: #', svg)
    corners = [np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2) for path in paths]
    return [np.ptp(points[:, 0]) for points in corners]


def test_bars_are_as_long_as_their_values():
    widths = bar_widths(bars_figure({"model": 0.6, "mean_view": 0.2}, {}, "IoU"))
    assert len(widths) == 2
    assert widths[0] == pytest.approx(3 * widths[1], rel=1e-4)


def test_training_shows_each_stage_and_only_losses_in_logarithm():
    rows = [Series("pretrain", [0, 10, 20], [1.0, 0.1, 0.011])]
    loss = training_figure("loss", [*rows, Series("distill", [0, 10], [0.5, 0.2])])
    assert {"pretrain", "distill", "step", "loss", "0.1"} <= set(texts(loss))
    assert "0.02" in texts(loss) and "0.02" not in texts(training_figure("psnr_db", rows))
    assert "0.02" not in texts(training_figure("loss", [Series("a", [0, 1], [1.0, 0.0])]))


def test_equal_figures_are_equal_bytes_in_every_process():
    code = (
        "import sys; from gsn.evaluation.report.curves import bars_figure;"
        "assert 'matplotlib.pyplot' not in sys.modules;"
        "print(bars_figure({'model': 0.5, 'mean_view': 0.25}, {'model': 0.1}, 'IoU'))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    here = bars_figure({"model": 0.5, "mean_view": 0.25}, {"model": 0.1}, "IoU")
    assert run.stdout.strip() == here
    assert "<metadata" not in here and "dc:date" not in here


def test_figures_of_one_page_share_no_id_and_point_at_their_own():
    figures = [precision_recall_figure(CURVES), bars_figure({"model": 0.5}, {}, "IoU")]
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in figures]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    for svg, own in zip(figures, ids, strict=True):
        targets = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
        assert targets and {a or b for a, b in targets} <= own


def test_names_are_text_whatever_they_hold():
    name = 'a <b> & $x$ id="y"'
    svg = bars_figure({name: 0.5}, {}, "IoU")
    assert name in texts(svg)


def test_figures_leave_the_settings_of_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    precision_recall_figure(CURVES)
    assert dict(matplotlib.rcParams) == before


def test_one_module_alone_imports_matplotlib():
    package = Path(str(gsn.__file__)).parent
    found = [path.name for path in package.rglob("*.py") if "matplotlib" in path.read_text("utf-8")]
    assert found == ["curves.py"]


def test_figures_of_nothing_are_refused():
    with pytest.raises(ValueError, match="curves: expected at least one method"):
        precision_recall_figure({})
    with pytest.raises(ValueError, match="means: expected at least one method"):
        bars_figure({}, {}, "IoU")
    with pytest.raises(ValueError, match="loss: expected at least one series"):
        training_figure("loss", [])
