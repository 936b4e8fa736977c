import json

import typer
from typer.testing import CliRunner

from benchmarks.scores import main, methods_table, scenes_table

MODEL = {"psnr_db": 21.987, "iou": 0.5, "iou_std": 0.0123, "ssim": 0.9}
NEAREST = {"psnr_db": 15.0, "iou": 0.25, "iou_std": 0.0}


def test_a_line_for_each_method_with_the_spread_over_prompts():
    lines = methods_table({"model": MODEL, "nearest_view": NEAREST, "colour_only": {}}).split("\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "PSNR dB", "IoU"]
    assert cells[2:] == [
        ["model", "21.99", "0.500 ± 0.012"],
        ["nearest view", "15.00", "0.250 ± 0.000"],
        ["colour only", "–", "–"],
    ]


def test_a_line_for_each_scene():
    scenes = {
        "fern": {"model": {"psnr_db": 20.0}, "colour_only": {"iou": 0.5}},
        "bare": {"colour_only": {"iou": 0.5}},
        "horns": {"model": MODEL, "mean_view": NEAREST},
    }
    lines = scenes_table(scenes, "psnr_db").split("\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["PSNR dB", "model", "mean view"]
    assert cells[2:] == [["fern", "20.00", "–"], ["horns", "21.99", "15.00"]]


def test_the_command_prints_the_means_and_each_score_that_there_is(tmp_path):
    path = tmp_path / "methods.json"
    parts = {"scenes": {"fern": {"model": MODEL}}, "objects": {"fern": {"cup": {"model": MODEL}}}}
    path.write_text(json.dumps({"model": MODEL, **parts}))
    app = typer.Typer()
    app.command()(main)
    found = CliRunner().invoke(app, [str(path)])
    assert found.exit_code == 0
    firsts = [line.split("|")[1].strip(" -") for line in found.stdout.split("\n") if line]
    assert firsts == ["", "", "model", "PSNR dB", "", "fern", "IoU", "", "fern"]
