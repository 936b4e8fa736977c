import csv
import json
import statistics
from dataclasses import replace

import numpy as np
import pytest

from gsn.evaluation.metrics.mask_table import MaskRow
from gsn.evaluation.report.content import SceneSection
from gsn.evaluation.scene_evaluation import SceneResult
from gsn.evaluation.summary import (
    mean_curves,
    objects_of,
    summarise_results,
    write_plots,
    write_tables,
)

RECALL = np.arange(1, 5) / 4


def rows_of(scene, *found):
    """Rows of (object, view, draw, method, IoU)."""
    return [
        MaskRow(scene, thing, view, draw, method, {"iou": iou})
        for thing, view, draw, method, iou in found
    ]


def curve(*precision):
    return RECALL, np.array(precision)


def result(name, means=None, rows=(), text_rows=(), curves=None):
    return SceneResult(
        name,
        means or {},
        rows_of(name, *rows),
        rows_of(name, *text_rows),
        curves or {},
        SceneSection(name, []),
    )


@pytest.fixture
def results():
    """The attic has three views of a cup and one of a jar, the cellar a single view of a box."""
    return [
        result(
            "attic",
            {"model": {"psnr_db": 20.0, "ssim": 0.5}, "nearest_view": {"psnr_db": 12.0}},
            [
                ("cup", "v0", 0, "model", 0.1),
                ("cup", "v1", 0, "model", 0.2),
                ("cup", "v2", 0, "model", 0.3),
                ("jar", "v0", 0, "model", 0.8),
                ("cup", "v0", 1, "model", 0.3),
                ("cup", "v1", 1, "model", 0.4),
                ("cup", "v2", 1, "model", 0.5),
                ("jar", "v0", 1, "model", 0.6),
                ("cup", "v0", 0, "colour_only", 0.05),
            ],
            [("cup", "v0", 0, "model", 0.25)],
            {"model": [curve(1, 1, 1, 1), curve(1, 0.5, 0.5, 0), curve(1, 0.6, 0.3, 0.2)]},
        ),
        result(
            "cellar",
            {"model": {"psnr_db": 26.0}, "teacher_on_photo": {"consistency_pck": 0.75}},
            [("box", "v0", 0, "model", 0.9), ("box", "v0", 1, "model", 0.7)],
            curves={"model": [curve(0, 0.3, 0.4, 0.6)], "colour_only": [curve(1, 0, 0, 0)]},
        ),
    ]


# Attic, draw 0: cup 0.2, jar 0.8 → 0.5; draw 1: cup 0.4, jar 0.6 → 0.5. Cellar: 0.9, then 0.7.
DRAWS = [(0.5 + 0.9) / 2, (0.5 + 0.7) / 2]


def test_every_scene_counts_the_same_whatever_its_number_of_views(results):
    found = summarise_results(results)
    assert found == {
        "model": {
            "psnr_db": 23.0,
            "ssim": 0.5,  # the cellar has none
            "iou": pytest.approx(sum(DRAWS) / 2),
            "iou_std": pytest.approx(statistics.stdev(DRAWS)),
            "text_iou": 0.25,
        },
        "nearest_view": {"psnr_db": 12.0},
        "teacher_on_photo": {"consistency_pck": 0.75},
        "colour_only": {"iou": 0.05},
    }
    # The mean over all rows would be another one.
    rows = [row.scores["iou"] for one in results for row in one.rows if row.method == "model"]
    assert abs(statistics.mean(rows) - found["model"]["iou"]) > 0.1


def test_without_scenes_there_is_nothing_to_tell():
    assert summarise_results([]) == {}
    assert mean_curves([]) == {}


def test_the_metrics_are_those_of_the_model(results, tmp_path):
    write_tables(tmp_path, results)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    methods = json.loads((tmp_path / "methods.json").read_text())
    scenes, objects = methods.pop("scenes"), methods.pop("objects")
    assert metrics == methods["model"] == pytest.approx(summarise_results(results)["model"])
    assert methods == summarise_results(results)
    assert scenes == {one.name: summarise_results([one]) for one in results}
    assert objects == {one.name: objects_of(one) for one in results}
    assert objects == {one.name: objects_of(one) for one in results}
    assert scenes["attic"]["model"]["iou"] == pytest.approx(0.5)
    assert scenes["attic"]["model"]["iou_std"] == pytest.approx(0)
    assert scenes["cellar"]["model"] == {
        "psnr_db": 26.0,
        "iou": pytest.approx(0.8),
        "iou_std": pytest.approx(statistics.stdev([0.9, 0.7])),
    }


def test_objects_are_averaged_over_views_each_by_itself(results):
    attic, cellar = (objects_of(one) for one in results)
    cup, jar = [0.2, 0.4], [0.8, 0.6]  # by draw
    assert attic == {
        "cup": {
            "model": {
                "iou": pytest.approx(statistics.mean(cup)),
                "iou_std": pytest.approx(statistics.stdev(cup)),
                "text_iou": 0.25,
            },
            "colour_only": {"iou": 0.05},
        },
        "jar": {
            "model": {
                "iou": pytest.approx(statistics.mean(jar)),
                "iou_std": pytest.approx(statistics.stdev(jar)),
            }
        },
    }
    assert list(cellar) == ["box"]
    text = objects_of(result("roof", text_rows=[("vane", "v0", 0, "model", 0.5)]))
    assert text == {"vane": {"model": {"text_iou": 0.5}}}
    assert objects_of(result("bare", {"model": {"psnr_db": 20.0}})) == {}


def test_objects_have_means_over_their_views(results):
    spread = pytest.approx(statistics.stdev([0.2, 0.4]))
    assert objects_of(results[0]) == {
        "cup": {
            "model": {"iou": pytest.approx(0.3), "iou_std": spread, "text_iou": 0.25},
            "colour_only": {"iou": 0.05},
        },
        "jar": {"model": {"iou": pytest.approx(0.7), "iou_std": spread}},
    }
    assert list(objects_of(results[1])) == ["box"]
    assert objects_of(result("roof")) == {}


def test_metrics_are_flat_numbers(results, tmp_path):
    write_tables(tmp_path, results)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert all(isinstance(value, float) for value in metrics.values())


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_mask_has_a_line_in_the_table_of_its_kind(results, tmp_path):
    write_tables(tmp_path, results)
    objects, texts = (read_csv(tmp_path / f"{name}.csv") for name in ("objects", "texts"))
    assert len(objects) == 11
    found = {
        (line["scene"], line["object"], line["view"], int(line["draw"]), line["method"]): float(
            line["iou"]
        )
        for line in objects
    }
    assert found == {row.key: row.scores["iou"] for one in results for row in one.rows}
    assert [(line["object"], line["iou"]) for line in texts] == [("cup", "0.25")]


def test_without_a_model_or_objects_the_files_are_there_and_empty(tmp_path):
    results = [result("attic", {"nearest_view": {"psnr_db": 12.0}})]
    write_tables(tmp_path, results)
    write_plots(tmp_path / "plots", results)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {}
    assert read_csv(tmp_path / "objects.csv") == read_csv(tmp_path / "texts.csv") == []
    assert (tmp_path / "plots" / "iou.csv").read_text() == "method,iou,iou_std\n"
    assert not list((tmp_path / "plots").rglob("*/*.csv"))


def test_a_score_that_is_no_number_leaves_the_older_tables(results, tmp_path):
    write_tables(tmp_path, results)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = [*results, result("roof", {"model": {"psnr_db": float("nan")}})]
    with pytest.raises(ValueError, match="finite 'psnr_db', got nan"):
        write_tables(tmp_path, broken)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_rows_of_one_mask_are_refused(results):
    twice = [*results, result("attic", rows=[("cup", "v0", 0, "model", 0.1)])]
    with pytest.raises(ValueError, match="two rows for scene 'attic', object 'cup', view 'v0'"):
        summarise_results(twice)


def test_curves_are_averaged_within_scenes_and_then_over_scenes(results):
    found = mean_curves(results)
    assert list(found) == ["model", "colour_only"]
    recall, precision = found["model"]
    np.testing.assert_array_equal(recall, RECALL)
    # The attic: (3, 2.1, 1.8, 1.2) / 3.
    np.testing.assert_allclose(precision, [0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(found["colour_only"][1], [1, 0, 0, 0])


def test_plots_hold_the_iou_with_its_spread_and_the_curves(results, tmp_path):
    write_plots(tmp_path / "plots", results)
    lines = {line["method"]: line for line in read_csv(tmp_path / "plots" / "iou.csv")}
    assert set(lines) == {"model", "colour_only"}
    assert float(lines["model"]["iou"]) == pytest.approx(sum(DRAWS) / 2)
    assert float(lines["model"]["iou_std"]) == pytest.approx(statistics.stdev(DRAWS))
    assert float(lines["colour_only"]["iou_std"]) == 0
    curves = tmp_path / "plots" / "precision_recall"
    assert {path.name for path in curves.iterdir()} == {"model.csv", "colour_only.csv"}
    points = [
        (float(line["recall"]), float(line["precision"]))
        for line in read_csv(curves / "colour_only.csv")
    ]
    assert points == [(0.25, 1), (0.5, 0), (0.75, 0), (1, 0)]


def test_plots_of_an_earlier_evaluation_do_not_stay(results, tmp_path):
    write_plots(tmp_path / "plots", results)
    write_plots(tmp_path / "plots", results[:1])
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert files == {"plots/iou.csv", "plots/precision_recall/model.csv"}


def test_plots_that_fail_leave_the_older_ones(results, tmp_path):
    write_plots(tmp_path / "plots", results)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}
    broken = replace(results[0], curves={"model": [curve(1, 1, 1)]})  # 3 values for 4 recalls
    with pytest.raises(ValueError, match="zip"):
        write_plots(tmp_path / "plots", [broken])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.csv")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["plots"]


def test_no_plot_of_an_older_run_stays(results, tmp_path):
    write_plots(tmp_path / "plots", results)
    write_plots(tmp_path / "plots", [result("attic", curves={"nearest_view": [curve(1, 1, 1, 1)]})])
    found = {path.name for path in (tmp_path / "plots" / "precision_recall").iterdir()}
    assert found == {"nearest_view.csv"}
