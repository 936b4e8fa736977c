import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gsn.evaluation.report.content import Curve, Panel, Report, SceneSection, ViewRow
from gsn.evaluation.report.curves import bars_figure
from gsn.evaluation.report.page import render_page, write_page

NAME = '<i>mug</i> & "Tasse" 観測'
VOID = {"meta", "img", "br"}


def panel(title, side=200, seed=0, lossless=False):
    picture = np.random.default_rng(seed).integers(0, 256, (side, side + 40, 3), np.uint8)
    return Panel(title, picture, lossless)


def report(name="scene", **changes):
    rows = [
        ViewRow(
            f"{name} {n}", [panel(f"{name} photo"), panel("features", 20)], {"model": {"iou": n}}
        )
        for n in (0, 1)
    ]
    scene = SceneSection(
        name,
        rows,
        [panel(f"prompt {name}")],
        {"model": {"iou": 0.5}},
        film=b"film",
        notes=[f"note {name}"],
        objects={f"{name} cup": {"model": {"iou": 0.4321}}, "jar": {"model": {"iou": 0.25}}},
    )
    fields = {
        "title": f"GSN {name}",
        "summary": {"model": {"iou": 0.5}, "mean_view": {"iou": 0.25}},
        "scenes": [scene, SceneSection("second", rows[:1])],
        "facts": [("commit", name)],
        "curves": [Curve(f"curve {name}", bars_figure({"model": 0.5}, {}, "IoU"))],
    }
    return Report(**(fields | changes))


class Reader(HTMLParser):
    """Collects elements and text; refuses tags that close in another order than they open."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._open = [], [], []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_shows_everything_of_the_report():
    page = Reader(render_page(report()))
    for text in (
        "GSN scene",
        "scene cup",
        "0.432",
        "commit",
        "note scene",
        "scene 0",
        "second",
        "curve scene",
    ):
        assert text in page.texts, text
    titles = ["prompt scene"] + 2 * ["scene photo", "features"] + ["scene photo", "features"]
    assert [image["alt"] for image in page.all("img")] == titles
    assert [video["src"] for video in page.all("video")] == ["data:video/mp4;base64,ZmlsbQ=="]
    assert "unseen" not in page.texts  # the title alone says of what it is
    assert "controls" in page.all("video")[0]
    assert len(page.all("article")) == 3 and len(page.all("svg")) == 1


def test_the_page_needs_no_other_file_and_no_script():
    page = Reader(render_page(report()))
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object")
        assert attributes.get("src", "data:").startswith("data:")
        href = attributes.get("href") or attributes.get("xlink:href") or "#"
        assert href.startswith("#")
    policy = page.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none';")
    style = re.search(r"<style>(.*?)</style>", render_page(report()), re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style and ".panels" in style


def test_names_of_scenes_views_and_labels_are_text_and_no_markup():
    page = Reader(render_page(report(NAME)))
    assert not page.all("i")
    for text in (f"GSN {NAME}", NAME, f"note {NAME}", f"{NAME} 0", f"curve {NAME}"):
        assert text in page.texts, text
    assert f"{NAME} photo" in [image["alt"] for image in page.all("img")]


def test_links_lead_to_places_that_exist_once():
    page = Reader(render_page(report()))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {link["href"][1:] for link in page.all("a")}
    assert {"s1", "s2"} <= targets <= set(ids)


def test_small_pictures_show_their_pixels():
    images = Reader(render_page(report())).all("img")
    kinds = {image["alt"]: image.get("class") for image in images}
    assert kinds == {"prompt scene": None, "scene photo": None, "features": "cells"}
    assert ".cells { image-rendering: pixelated; }" in render_page(report())


def test_lossless_panels_are_png_and_the_others_jpeg():
    panels = [panel("a"), panel("b", lossless=True)]
    page = Reader(render_page(report(scenes=[SceneSection("s", [ViewRow("v", panels)])])))
    sources = [image["src"][:15] for image in page.all("img")]
    assert sources == ["data:image/jpeg", "data:image/png;"]


def test_what_a_report_lacks_leaves_no_empty_heading():
    empty = report(scenes=[SceneSection("bare", [])], curves=[], facts=[], summary={})
    page = Reader(render_page(empty))
    headings = [text for text in page.texts if text in ("Curves", "Prompts", "Held-out views")]
    assert headings == [] and "No scores." in page.texts
    assert not page.all("table") and not page.all("video") and not page.all("dl")


def test_equal_reports_give_equal_pages():
    assert render_page(report()) == render_page(report())


def test_the_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "unseen" / "index.html"
    write_page(path, report(NAME))
    assert path.read_text(encoding="utf-8") == render_page(report(NAME))
    broken = report(scenes=[SceneSection("s", [ViewRow("v", [Panel("p", np.zeros((2, 2)))])])])
    with pytest.raises(ValueError, match="expected shape"):
        write_page(path, broken)
    assert path.read_text(encoding="utf-8") == render_page(report(NAME))
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
