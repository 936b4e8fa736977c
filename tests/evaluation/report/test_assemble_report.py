import numpy as np
import pytest

from gsn.evaluation.metrics.mask_table import MaskRow
from gsn.evaluation.report.assemble_report import assemble_report
from gsn.evaluation.report.content import SceneSection
from gsn.evaluation.report.page import render_page
from gsn.evaluation.scene_evaluation import SceneResult
from gsn.evaluation.summary import summarise_results

HISTORY = [
    (25, {"loss": 0.5, "psnr_db": 18.0}),
    (50, {"loss": 0.4, "psnr_db": 19.0, "feature_cosine": 0.75}),
]


def result(name, iou=None, curves=None):
    rows = [
        MaskRow(name, "cup", "v0", draw, "model", {"iou": value})
        for draw, value in enumerate(iou or [])
    ]
    means = {"model": {"psnr_db": 20.0}, "nearest_view": {"psnr_db": 12.0}}
    section = SceneSection(name, [], film=b"film", notes=["a note"])
    return SceneResult(name, means, rows, [], curves or {}, section)


@pytest.fixture
def results():
    recall = np.arange(1, 101) / 100
    curves = {"model": [(recall, 1 - recall / 2)]}
    return [result("attic", [0.5, 0.7], curves), result("cellar", [0.2, 0.4])]


def test_a_report_holds_the_means_over_scenes_and_those_of_each(results):
    facts = [("commit", "abc"), ("minutes", "1.5")]
    report = assemble_report("unseen", results, facts, [])
    assert report.summary == summarise_results(results)
    assert report.summary["model"]["iou"] == pytest.approx(0.45)
    assert [scene.name for scene in report.scenes] == ["attic", "cellar"]
    for scene, iou in zip(report.scenes, (0.6, 0.3), strict=True):
        assert scene.means["model"] == {
            "psnr_db": 20.0,
            "iou": pytest.approx(iou),
            "iou_std": pytest.approx(0.2 / 2**0.5),
        }
        assert (scene.film, scene.notes) == (b"film", ["a note"])
        cup = {"iou": pytest.approx(iou), "iou_std": pytest.approx(0.2 / 2**0.5)}
        assert scene.objects == {"cup": {"model": cup}}
    assert (report.title, report.facts) == ("Views of unseen scenes", facts)


def captions(report):
    return [curve.caption for curve in report.curves]


def test_curves_are_those_of_objects_and_of_the_training(results):
    report = assemble_report("unseen", results, [], HISTORY)
    found = captions(report)
    assert len(found) == 4
    for caption, word in zip(found, ("Precision", "IoU", "PSNR", "cosine"), strict=True):
        assert word in caption
    assert all(curve.svg.startswith("<svg") for curve in report.curves)
    psnr = report.curves[2].svg
    assert "PSNR of training rays, dB" in psnr and "step" in psnr


def test_what_is_not_known_has_no_curve(results):
    assert captions(assemble_report("seen", results[1:], [], [])) == [
        "IoU, with the spread over prompts"
    ]
    assert captions(assemble_report("seen", [result("attic")], [], [])) == []
    (psnr,) = captions(assemble_report("seen", [], [], HISTORY[:1]))
    assert "PSNR" in psnr


def test_a_report_of_no_scene_is_a_page(results):
    report = assemble_report("unseen", [], [("commit", "abc")], [])
    assert (report.summary, report.scenes) == ({}, [])
    assert "No scores." in render_page(report)
    page = render_page(assemble_report("unseen", results, [], HISTORY))
    assert page.count("<svg") == 4 and "No scores." not in page
