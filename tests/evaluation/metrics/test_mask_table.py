import csv
import math
import random
import statistics

import numpy as np
import pytest

from gsn.evaluation.metrics.mask_table import (
    MaskRow,
    summarise,
    summarise_objects,
    write_rows,
)


def row(scene, thing, view, iou, draw=0, method="model", **more):
    return MaskRow(scene, thing, view, draw, method, {"iou": iou} | more)


# Unequal throughout: cup 3 views, jar 1; scene b one object of 2 views.
UNEQUAL = [
    row("a", "cup", "v0", 0.1),
    row("a", "cup", "v1", 0.2),
    row("a", "cup", "v2", 0.3),
    row("a", "jar", "v0", 0.8),
    row("b", "box", "v0", 0.9),
    row("b", "box", "v1", 0.7),
]


def test_views_are_averaged_to_objects_objects_to_scenes_and_scenes_to_the_mean():
    # cup 0.2, jar 0.8 → scene a 0.5; box 0.8 → scene b 0.8. Rows alone would give 0.5.
    assert summarise(UNEQUAL) == {"model": {"iou": pytest.approx(0.65)}}
    assert statistics.mean(r.scores["iou"] for r in UNEQUAL) == pytest.approx(0.5)


def test_objects_have_a_table_of_their_own():
    assert summarise_objects(UNEQUAL) == {
        "a": {"cup": {"model": {"iou": pytest.approx(0.2)}}, "jar": {"model": {"iou": 0.8}}},
        "b": {"box": {"model": {"iou": pytest.approx(0.8)}}},
    }


def test_the_spread_is_that_of_the_means_of_draws():
    # Draw 0: cup 0.2, jar 0.6 → 0.4. Draw 1: cup 0.5, jar 0.9 → 0.7. Draw 2: 0.4 and 0.6 → 0.5.
    rows = [
        row("a", "cup", "v0", 0.1),
        row("a", "cup", "v1", 0.3),
        row("a", "jar", "v0", 0.6),
        row("a", "cup", "v0", 0.4, draw=1),
        row("a", "cup", "v1", 0.6, draw=1),
        row("a", "jar", "v0", 0.9, draw=1),
        row("a", "cup", "v0", 0.4, draw=2),
        row("a", "cup", "v1", 0.4, draw=2),
        row("a", "jar", "v0", 0.6, draw=2),
    ]
    mean = (0.4 + 0.7 + 0.5) / 3
    spread = math.sqrt(((0.4 - mean) ** 2 + (0.7 - mean) ** 2 + (0.5 - mean) ** 2) / 2)
    assert summarise(rows)["model"] == pytest.approx({"iou": mean, "iou_std": spread})


def test_a_single_draw_has_no_spread():
    assert "iou_std" not in summarise(UNEQUAL)["model"]
    assert "iou_std" not in summarise([row("a", "cup", "v0", 0.1, draw=4)])["model"]


def test_an_object_enters_a_draw_that_it_lacks_with_the_mean_of_its_own():
    # The jar has draw 0 alone. Draw 0: (0.2 + 0.8) / 2; draw 1: (0.6 + 0.8) / 2.
    rows = [
        row("a", "cup", "v0", 0.2),
        row("a", "cup", "v0", 0.6, draw=1),
        row("a", "jar", "v0", 0.8),
    ]
    spread = math.sqrt(2 * 0.1**2)
    assert summarise(rows)["model"] == pytest.approx({"iou": 0.6, "iou_std": spread})


def test_draws_that_only_some_objects_have_do_not_shift_the_mean():
    # Objects: cup (0.2 + 0.6 + 0.7) / 3 = 0.5, jar (0.3 + 0.5) / 2 = 0.4, box 0.9.
    rows = [row("a", "cup", "v0", iou, draw) for draw, iou in enumerate((0.2, 0.6, 0.7))]
    rows += [row("a", "jar", "v0", iou, draw) for draw, iou in ((0, 0.3), (2, 0.5))]
    rows += [row("b", "box", "v0", 0.9)]
    # Scene a by draw: (0.2 + 0.3) / 2, (0.6 + 0.4) / 2, (0.7 + 0.5) / 2; scene b 0.9 throughout.
    means = [(0.25 + 0.9) / 2, (0.5 + 0.9) / 2, (0.6 + 0.9) / 2]
    expected = {"iou": (0.45 + 0.9) / 2, "iou_std": np.std(means, ddof=1)}
    assert summarise(rows)["model"] == pytest.approx(expected)
    assert summarise(rows[-1:]) == {"model": {"iou": 0.9}}


def test_objects_of_one_draw_each_have_no_spread_even_if_its_number_differs():
    rows = [row("a", "cup", "v0", 0.2), row("a", "jar", "v0", 0.4, draw=1)]
    assert summarise(rows) == {"model": {"iou": pytest.approx(0.3)}}


def test_a_metric_that_a_row_lacks_is_left_out_of_its_means_alone():
    rows = [
        row("a", "cup", "v0", 0.2, average_precision=0.4),
        row("a", "cup", "v1", 1.0),
        row("a", "jar", "v0", 0.4, average_precision=0.8),
        row("b", "box", "v0", 0.5),
    ]
    # IoU: cup 0.6, jar 0.4 → 0.5; box 0.5. AP: cup 0.4, jar 0.8 → 0.6; scene b has none.
    expected = {"iou": 0.5, "average_precision": 0.6}
    assert summarise(rows)["model"] == pytest.approx(expected)
    assert summarise(rows[-1:])["model"] == {"iou": 0.5}


def test_a_metric_of_one_draw_has_no_spread_beside_one_of_two():
    rows = [row("a", "cup", "v0", 0.2, average_precision=0.4), row("a", "cup", "v0", 0.4, draw=1)]
    found = summarise(rows)["model"]
    assert found.keys() == {"iou", "iou_std", "average_precision"}


def test_methods_do_not_mix_and_keep_their_order():
    rows = [row("a", "cup", "v0", 0.9, method="teacher_on_photo"), row("a", "cup", "v0", 0.1)]
    found = summarise(rows)
    assert list(found) == ["teacher_on_photo", "model"]
    assert found == {"teacher_on_photo": {"iou": 0.9}, "model": {"iou": 0.1}}


def test_no_rows_have_an_empty_summary():
    assert summarise([]) == summarise_objects([]) == {}


def test_two_rows_of_one_mask_are_refused(tmp_path):
    rows = [row("a", "cup", "v0", 0.1), row("a", "cup", "v0", 0.2)]
    for use in (summarise, summarise_objects, lambda rows: write_rows(tmp_path / "r.csv", rows)):
        with pytest.raises(ValueError, match="two rows for scene 'a', object 'cup', view 'v0'"):
            use(rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_makes_no_row(value):
    with pytest.raises(ValueError, match=r"row \('a', 'cup', .*: expected a finite 'iou'"):
        row("a", "cup", "v0", value)


def test_a_written_table_reads_back_as_it_was(tmp_path):
    rng = random.Random(0)
    rows = [
        row(scene, thing, f"v{view}", rng.random(), draw, method, boundary_f=np.float64(1 / 3))
        for scene in "ba"
        for thing in ("a cup, red", 'a "jar"')
        for view in range(2)
        for draw in range(2)
        for method in ("model", "colour_only")
    ]
    write_rows(tmp_path / "new" / "rows.csv", rows)
    with (tmp_path / "new" / "rows.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    by_key = {r.key: r.scores for r in rows}
    assert len(read) == len(rows)
    for cells in read:
        key = (cells["scene"], cells["object"], cells["view"], int(cells["draw"]), cells["method"])
        assert {"iou": float(cells["iou"]), "boundary_f": float(cells["boundary_f"])} == by_key[key]


def test_a_written_table_has_sorted_rows_and_empty_cells_for_what_is_not_there(tmp_path):
    rows = [
        row("b", "box", "v0", 0.1),
        row("a", "jar", "v0", 0.25, draw=10),
        row("a", "jar", "v0", 0.5, draw=9, average_precision=1.0),
    ]
    expected = (
        "scene,object,view,draw,method,iou,average_precision\n"
        "a,jar,v0,9,model,0.5,1.0\n"
        "a,jar,v0,10,model,0.25,\n"
        "b,box,v0,0,model,0.1,\n"
    )
    for order in (rows, rows[::-1]):
        write_rows(tmp_path / "rows.csv", order)
        assert (tmp_path / "rows.csv").read_bytes().decode() == expected
