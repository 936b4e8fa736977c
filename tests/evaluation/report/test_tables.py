import re
import xml.etree.ElementTree as ET

from gsn.evaluation.report.tables import (
    method_key,
    metrics_table,
    objects_table,
    student_numbers,
    view_table,
)

SCORES = {
    "teacher_on_photo": {"iou": 0.99, "iou_std": 0.001},
    "nearest_view": {"iou": 0.6181, "lpips": 0.2, "psnr_db": 15.0},
    "model": {"iou": 0.6179, "iou_std": 0.0123, "lpips": 0.3, "psnr_db": 21.0, "n_views": 4.0},
}


def cells(html):
    """Rows of a table: the first cell is the method; bold values in asterisks."""
    tree = ET.fromstring(f"<div>{html.replace('&nbsp;', ' ')}</div>")
    rows = []
    for row in tree.iter("tr"):
        for bold in row.iter("b"):
            bold.text = f"*{bold.text}*"
        rows.append(["".join(cell.itertext()).strip() for cell in row])
    return rows


def test_the_table_shows_every_score_with_its_spread_and_the_best_in_bold():
    assert cells(metrics_table(SCORES)) == [
        ["", "images", "objects from strokes", ""],
        ["method", "PSNR, dB ↑", "LPIPS ↓", "IoU ↑", "n views"],
        ["student", "*21.00*", "0.300", "*0.618* ±0.012", "4"],  # 0.618 like the other
        ["nearest view", "15.00", "*0.200*", "*0.618*", "–"],
        ["teacher on photoneeds the photo of the target view", "–", "–", "0.990 ±0.001", "–"],
    ]


def test_a_group_spans_its_columns():
    heads = re.findall(r'<th colspan="(\d)"[^>]*>([^<]*)<', metrics_table(SCORES))
    assert heads == [("2", "images"), ("1", "objects from strokes"), ("1", "")]


def test_nothing_is_the_best_of_one():
    table = metrics_table({"model": {"iou": 0.6}, "teacher_on_photo": {"iou": 0.7}})
    assert "<b>" not in table


def test_the_cosine_of_colours_does_not_compete_with_that_of_features():
    scores = {
        "model": {"consistency_cosine": 0.9, "consistency_pck": 0.4},
        "mean_view": {"consistency_cosine": 0.8, "consistency_pck": 0.3},
        "colour_only": {"consistency_cosine": 1.0, "consistency_pck": 0.5},
    }
    assert cells(metrics_table(scores))[2:] == [
        ["student", "*0.900*", "0.400"],
        ["mean view", "0.800", "0.300"],
        ["colour only", "1.000", "*0.500*"],
    ]
    # Not even where it is as high as the best.
    scores["model"]["consistency_cosine"] = 1.0
    found = cells(metrics_table(scores))
    assert (found[2][1], found[4][1]) == ("*1.000*", "1.000")
    assert "*" not in cells(metrics_table({m: scores[m] for m in ("model", "colour_only")}))[2][1]


def test_objects_have_a_line_each_with_the_best_method_in_bold():
    objects = {
        "cup": {
            "teacher_on_photo": {"iou": 0.9},
            "colour_only": {"iou": 0.3, "iou_std": 0.02},
            "model": {"iou": 0.7, "iou_std": 0.0123, "text_iou": 0.8},
        },
        "of a text alone": {"model": {"text_iou": 0.6}},
        "<jar>": {"colour_only": {"iou": 0.6}, "model": {"iou": 0.5}},
    }
    assert cells(objects_table(objects)) == [
        ["object", "student", "colour only", "teacher on photo"],
        ["cup", "*0.700* ±0.012", "0.300 ±0.020", "0.900"],
        ["<jar>", "0.500", "*0.600*", "–"],
    ]


def test_objects_without_iou_have_no_table():
    assert objects_table({}) == objects_table({"cup": {"model": {"text_iou": 0.6}}}) == ""


def test_a_view_shows_few_metrics_and_none_if_it_has_none_of_them():
    assert cells(view_table(SCORES)) == [
        ["", "PSNR, dB ↑", "IoU ↑"],
        ["student", "*21.00*", "*0.618* ±0.012"],
        ["nearest view", "15.00", "*0.618*"],
        ["teacher on photo", "–", "0.990 ±0.001"],
    ]
    assert view_table({"model": {"ssim": 0.7}}) == view_table({}) == ""


def test_the_numbers_of_the_student_stand_with_their_units():
    html = student_numbers({"model": {"psnr_db": 21.0, "feature_cosine": 0.9}, "x": {"iou": 1.0}})
    items = ["".join(item.itertext()).strip() for item in ET.fromstring(html)]
    assert items == ["PSNR 21.00 dB", "feature cosine 0.900"]
    assert student_numbers({"nearest_view": {"iou": 0.5}}) == ""


def test_names_of_methods_and_metrics_are_escaped():
    table = metrics_table({"<b>&": {"<i>": 1.0}})
    assert "&lt;b&gt;&amp;" in table and "&lt;i&gt;" in table
    assert "<i>" not in table and "<b>" not in table


def test_known_methods_are_explained_and_unknown_ones_are_not():
    html = method_key(["unheard_of", "teacher_on_photo", "model"])
    terms = ["".join(term.itertext()) for term in ET.fromstring(html).iter("dt")]
    assert terms == ["student", "teacher on photo"]
    assert method_key(["unheard_of"]) == ""
