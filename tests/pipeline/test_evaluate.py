import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from gsn.captures.capture import Capture, Masks
from gsn.captures.pack import write_pack
from gsn.evaluation.config import EvaluateConfig
from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.prompts.prompt_file import read_prompts
from gsn.evaluation.prompts.strokes import draw_stroke
from gsn.evaluation.scene_scores import SceneScorer
from gsn.evaluation.scene_task import SceneTask
from gsn.evaluation.views.rendering import SceneRenderer
from gsn.features.basis import Basis
from gsn.features.prompts import Prompts
from gsn.features.store import StoreHeader
from gsn.features.targets import target_header
from gsn.features.update import StoreUpdate, store_path
from gsn.geometry.cell_grid import CellGrid
from gsn.model.checkpoint import Checkpoint
from pipeline.config import load_section
from pipeline.evaluate import Folders, evaluate, main, write_prompts

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
HELD_OUT = (0, 3)
LABELS = ("cup", "jar")
HISTORY = [(25, {"loss": 0.5, "psnr_db": 18.0, "feature_cosine": 0.5})]
TRAIN, TEST = ["hall"], ["attic", "cellar"]
CHANGES = {
    "scenes.train": TRAIN,
    "scenes.test": TEST,
    "evaluate.max_views_per_scene.unseen": 0,
    "evaluate.text.neutral": ["things"],
    "evaluate.orbit.pixel_stride": 4,
}
QUICK = {"evaluate.strokes.seeds": [0], "evaluate.orbit.frames.unseen": 0}


def mask_of_scene():
    mask = np.zeros((24, 28), np.uint8)
    mask[4:20, 4:12] = 1
    mask[8:20, 16:24] = 2
    return mask


def write_scene(scene, prepared, masks):
    """Write a pack; `masks` are those of all views, or None."""
    capture = Capture(
        name=scene.name,
        view_names=scene.view_names,
        image_sha256=scene.view_names,
        images=scene.images.permute(0, 2, 3, 1).numpy(),
        intrinsics=scene.cameras.intrinsics.double().numpy(),
        cam_to_world=scene.cameras.cam_to_world.double().numpy(),
        near=float(scene.near),
        far=float(scene.far),
        masks=None if masks is None else Masks(LABELS, np.stack(masks), np.ones(6, bool)),
    )
    write_pack(prepared / f"{scene.name}.h5", capture, scene.held_out.numpy())


def write_targets(scene, basis, folder):
    """Targets that tell the objects apart, with a little noise."""
    n_views = len(scene.view_names)
    noise = np.random.default_rng(0).normal(size=(n_views, 6, 7, 4)) * 0.1
    maps = np.eye(4)[mask_of_scene()[::4, ::4]] + noise
    features = StoreHeader(
        made_by={"name": "fake", "weights": {"trained": True}},
        view_names=scene.view_names,
        fingerprints=scene.view_names,
        map_shape=(6, 7, 4),
        cell_grid=CellGrid.of_patches((4, 4)),
        image_size=(24, 28),
    )
    update = StoreUpdate(
        store_path(folder, scene.name), target_header(features, basis, "basis.npz")
    )
    update.begin()
    for view, one in zip(scene.view_names, maps, strict=True):
        update.write(scene.view_names.index(view), one.astype(np.float16))
    update.finish()


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_scene, make_model, make_config, write_params):
    """Packs, targets, texts, two models and settings: all that the stage reads."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "targets").mkdir()
    (folder / "raw").mkdir()
    basis = Basis(np.full(4, 0.2), np.eye(4), np.ones(4), np.full(4, 0.25), 9, {})
    basis.save(folder / "targets" / "basis.npz")
    vectors = np.eye(4, dtype=np.float32)[:3]
    Prompts(("things", "a cup", "the jar"), vectors, {}).save(folder / "targets" / "prompts.npz")
    for seed, name in enumerate([*TRAIN, *TEST]):
        scene = make_scene(name, seed=seed, held_out=HELD_OUT)
        masks = None if name == "cellar" else [mask_of_scene()] * 6
        write_scene(scene, folder / "prepared", masks)
        write_targets(scene, basis, folder / "targets")
    for name, channels in (("pretrain", None), ("distill", 4)):
        weights = make_model(channels).state_dict()
        known = {"basis.npz": basis.sha256} if channels else {}
        training = {"history": HISTORY}
        model = Checkpoint(make_config(), weights, 25, TRAIN, channels, known, training)
        model.save(folder / f"{name}.pt")
    write_params(folder / "params.yaml", CHANGES)
    write_params(folder / "quick.yaml", CHANGES | QUICK)
    return folder


@pytest.fixture(scope="module")
def cfg(data):
    return load_section(data / "params.yaml", "evaluate", EvaluateConfig)


@pytest.fixture(scope="module")
def quick(data):
    """Settings of one stroke and no film."""
    return load_section(data / "quick.yaml", "evaluate", EvaluateConfig)


@pytest.fixture(scope="module")
def run(data, cfg):
    """Return what evaluates scenes into a folder; renders are shared by all tests of a model."""

    def start(out, scenes=TEST, model="distill", cfg=cfg, split="unseen", **places):
        parts = {name: data / name for name in ("raw", "prepared", "targets")}
        folders = Folders(out=out, **(parts | {"renders": data / "renders" / model} | places))
        evaluate(scenes, data / f"{model}.pt", folders, cfg, split, CPU)

    return start


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("reports") / "unseen"
    run(out)
    return out


def contents(folder):
    """Bytes of all files, by path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read_json(path):
    return json.loads(path.read_text())


def objects_of(report):
    with (report / "objects.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_there_that_dvc_expects(report):
    dvc = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stage = dvc["stages"]["evaluate"]
    outs = [
        Path(out).relative_to("reports/${item.split}") for out in stage["outs"] + stage["metrics"]
    ]
    assert {out.name for out in outs} == {path.name for path in report.iterdir()}
    drawn = [
        (Path(file).relative_to("reports/unseen"), plot["x"], column)
        for entry in dvc["plots"]
        for plot in entry.values()
        for file, column in plot["y"].items()
        if file.startswith("reports/unseen/")
    ]
    assert len(drawn) > 3
    for file, *columns in drawn:
        with (report / file).open(newline="") as lines:
            assert set(columns) <= set(csv.DictReader(lines).fieldnames), file


def test_every_view_is_pictured_and_every_scene_has_a_film(report):
    pictures = {path.relative_to(report).as_posix() for path in report.rglob("*.png")}
    expected = {f"images/{name}/{name}_{view}.png" for name in TEST for view in HELD_OUT}
    assert {name for name in pictures if name.startswith("images/")} == expected
    films = [path.relative_to(report).as_posix() for path in sorted(report.rglob("*.mp4"))]
    assert films == ["films/attic/orbit.mp4", "films/cellar/orbit.mp4"]
    assert cv2.VideoCapture(str(report / films[0])).read()[0]


def test_metrics_are_the_row_of_the_model_in_the_table_of_methods(report):
    methods = read_json(report / "methods.json")
    scenes = methods.pop("scenes")
    assert list(scenes) == TEST
    assert read_json(report / "metrics.json").items() <= methods["model"].items()
    psnr = [scenes[name]["model"]["psnr_db"] for name in TEST]
    assert methods["model"]["psnr_db"] == pytest.approx(sum(psnr) / 2)
    assert psnr[0] != psnr[1]
    # The cellar has no masks: the attic alone says how well objects are found.
    assert "iou" not in scenes["cellar"]["model"]
    for name in ("iou", "text_iou"):
        assert methods["model"][name] == scenes["attic"]["model"][name]
    assert {line["scene"] for line in objects_of(report)} == {"attic"}


def test_the_page_says_what_its_numbers_are_of_and_stands_alone(report):
    page = (report / "index.html").read_text()
    for text in ("fake", "hall", "0, 1", "best_iou", "25 steps", "1 thread"):
        assert text in page, text
    for name in TEST:
        assert f"<h2>{name}</h2>" in page
    assert "No object is searched for" in page  # in the cellar
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page)
    assert page.count("<svg") == 4


def test_the_strokes_that_were_drawn_can_be_read_again(report, cfg):
    held_out = [view in HELD_OUT for view in range(6)]
    names = [f"attic_{view}" for view in range(6)]
    prompts = read_prompts(report / "prompts" / "attic", names, held_out, (24, 28))
    assert [(one.label, one.draw) for one in prompts] == [
        (label, draw) for label in LABELS for draw in (0, 1)
    ]
    for prompt in prompts:
        whole = mask_of_scene() == 1 + LABELS.index(prompt.label)
        stroke = draw_stroke(whole, cfg.strokes.seeds[prompt.draw], cfg.strokes.width_px)
        np.testing.assert_array_equal(prompt.positive, stroke)
        np.testing.assert_array_equal(prompt.reference, whole)
        assert prompt.view == "attic_1"
    assert not (report / "prompts" / "cellar").exists()


def test_more_than_ten_strokes_come_back_in_their_order(tmp_path):
    stroke = np.zeros((24, 28), bool)
    prompts = []
    for draw in range(12):
        stroke[draw] = True
        prompts.append(PixelPrompt("cup", draw, "attic_1", stroke.copy()))
    task = SceneTask([], prompts, None, TrueMasks("attic", (), (), {}, 0.1), 0)
    write_prompts(tmp_path, task)
    found = read_prompts(tmp_path, ["attic_1"], [False], (24, 28))
    assert [int(one.positive.any(axis=1).sum()) for one in found] == list(range(1, 13))


def test_prompts_that_were_written_give_the_same_scores_as_prompt_files(run, report, tmp_path):
    raw = tmp_path / "raw" / "attic" / "prompts"
    shutil.copytree(report / "prompts" / "attic", raw)
    run(tmp_path / "out", ["attic"], raw=tmp_path / "raw")
    assert objects_of(tmp_path / "out") == objects_of(report)
    assert contents(tmp_path / "out" / "prompts" / "attic") == contents(raw)


def test_prompt_files_of_a_scene_without_masks_are_searched_for(run, quick, tmp_path):
    folder = tmp_path / "raw" / "cellar" / "prompts"
    folder.mkdir(parents=True)
    entries = {"version": 1, "object": "lamp", "view": "cellar_2", "image_size_px": [28, 24]}
    entries["positive"] = {"rectangle": [4, 4, 10, 10]}
    (folder / "lamp.yaml").write_text(yaml.safe_dump(entries))
    run(tmp_path / "out", ["cellar"], cfg=quick, raw=tmp_path / "raw")
    assert objects_of(tmp_path / "out") == []
    assert "lamp (truth unknown)" in (tmp_path / "out" / "index.html").read_text()
    assert len(list((tmp_path / "out" / "prompts" / "cellar").glob("*.yaml"))) == 1


def test_masks_of_held_out_views_change_scores_and_nothing_else(run, report, make_scene, tmp_path):
    noise = np.random.default_rng(0).integers(0, 3, (6, 24, 28), np.uint8)
    masks = [noise[view] if view in HELD_OUT else mask_of_scene() for view in range(6)]
    prepared = tmp_path / "prepared"
    write_scene(make_scene("attic", seed=1, held_out=HELD_OUT), prepared, masks)
    run(tmp_path / "out", ["attic"], prepared=prepared)
    assert contents(tmp_path / "out" / "prompts") == contents(report / "prompts")
    found, expected = (
        read_json(folder / "methods.json")["scenes"]["attic"]
        for folder in (tmp_path / "out", report)
    )
    assert found.keys() == expected.keys()
    for method, scores in expected.items():
        for name, value in scores.items():
            kind = name.removeprefix("text_").removesuffix("_std")
            if kind in ("iou", "accuracy", "boundary_f", "average_precision"):
                assert found[method][name] != value or name.endswith("_std"), (method, name)
            else:
                assert found[method][name] == value, (method, name)


def test_a_run_that_breaks_off_leaves_the_older_report_and_its_renders(
    run, quick, tmp_path, monkeypatch
):
    out, renders = tmp_path / "unseen", tmp_path / "renders"
    run(out, ["attic"], cfg=quick)
    before = contents(out)
    score = SceneScorer.score

    def killed(scorer, target):
        if scorer.views.scene.name == "cellar":
            raise KeyboardInterrupt
        return score(scorer, target)

    with monkeypatch.context() as patch:
        patch.setattr(SceneScorer, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            run(out, cfg=quick, renders=renders)
    assert contents(out) == before
    kept = set(contents(renders))
    assert {name for name in kept if name.startswith("attic/attic_")} == {
        "attic/attic_0.npz",
        "attic/attic_1.npz",
        "attic/attic_3.npz",
    }
    view = SceneRenderer.view
    rendered = []

    def counted(renderer, target):
        rendered.append((renderer.scene.name, target))
        return view(renderer, target)

    monkeypatch.setattr(SceneRenderer, "view", counted)
    run(out, cfg=quick, renders=renders)
    assert rendered == [("cellar", view) for view in HELD_OUT]


def test_a_report_that_cannot_be_laid_out_leaves_the_older_one(run, quick, tmp_path, monkeypatch):
    run(tmp_path / "out", ["attic"], cfg=quick)
    before = contents(tmp_path / "out")

    def broken(*_):
        raise ValueError("no page")

    monkeypatch.setattr("gsn.evaluation.report.page.render_page", broken)
    with pytest.raises(ValueError, match="no page"):
        run(tmp_path / "out", cfg=quick)
    assert contents(tmp_path / "out") == before


def test_a_second_run_gives_the_same_report_and_nothing_of_an_older_one_stays(run, quick, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    run(first, cfg=quick)
    run(second, ["hall"], cfg=quick)
    run(second, cfg=quick)
    found, expected = contents(second), contents(first)
    assert found.keys() == expected.keys()
    different = {name for name in found if found[name] != expected[name]}
    assert different <= {"index.html"}  # it says how long it took


def test_the_seen_split_has_limits_of_its_own(run, cfg, tmp_path):
    one_stroke = replace(cfg, strokes=replace(cfg.strokes, seeds=(0,)))
    run(tmp_path / "seen", ["hall"], cfg=one_stroke, split="seen")
    assert len(list((tmp_path / "seen" / "images" / "hall").iterdir())) == 1
    assert not list((tmp_path / "seen").rglob("*.mp4"))
    assert (tmp_path / "seen" / "films").is_dir()


def test_a_model_without_feature_head_is_evaluated(run, quick, tmp_path):
    run(tmp_path / "out", ["attic"], model="pretrain", cfg=quick)
    assert set(read_json(tmp_path / "out" / "metrics.json")) == {"psnr_db", "ssim"}
    assert {line["method"] for line in objects_of(tmp_path / "out")} >= {"colour_only"}
    assert "model" not in {line["method"] for line in objects_of(tmp_path / "out")}


def test_without_scenes_the_report_is_empty(run, tmp_path):
    run(tmp_path / "out", [])
    assert read_json(tmp_path / "out" / "metrics.json") == {}
    assert "No scores." in (tmp_path / "out" / "index.html").read_text()


def test_targets_in_another_basis_stop_the_run_before_anything_is_written(
    run, data, tmp_path, make_config, make_model
):
    weights = make_model(4).state_dict()
    other = Checkpoint(make_config(), weights, 1, TRAIN, 4, {"basis.npz": "0" * 64})
    other.save(data / "other.pt")
    with pytest.raises(ValueError, match=r"'attic': targets in the basis .* `dvc repro distill`"):
        run(tmp_path / "out", model="other")
    assert contents(tmp_path) == {}


@pytest.fixture
def command(data, tmp_path):
    """Return what runs the command line of the stage."""

    def invoke(split, model=data / "distill.pt"):
        app = typer.Typer()
        app.command()(main)
        paths = [model, data / "prepared", data / "targets", split, tmp_path / "out"]
        options = ["--raw", data / "raw", "--renders", data / "renders" / "distill"]
        options += ["--params", data / "quick.yaml", "--device", "cpu"]
        return CliRunner().invoke(app, [str(part) for part in [*paths, *options]])

    return invoke


@pytest.mark.parametrize(("split", "scenes"), [("unseen", TEST), ("seen", TRAIN)])
def test_the_split_says_which_scenes_are_evaluated(command, tmp_path, split, scenes):
    assert command(split).exit_code == 0
    assert list(read_json(tmp_path / "out" / "methods.json")["scenes"]) == scenes


@pytest.mark.parametrize("split", ["unseen", "seen"])
@pytest.mark.parametrize("learnt_from", [["attic"], ["hall", "cellar", "gone"]])
def test_a_test_scene_that_the_model_has_learnt_from_stops_either_split(
    command, tmp_path, make_config, make_model, split, learnt_from
):
    model = Checkpoint(make_config(), make_model(4).state_dict(), 1, learnt_from, 4)
    model.save(tmp_path / "leaked.pt")
    done = command(split, tmp_path / "leaked.pt")
    assert isinstance(done.exception, ValueError)
    assert re.search(r"leak: scenes\.test names (attic|cellar), which", str(done.exception))
    assert not (tmp_path / "out").exists()


def test_photographs_that_the_model_remembers_stop_the_run_though_their_pack_is_gone(
    command, tmp_path, make_config, make_model
):
    seen = {"elsewhere": [f"attic_{view}" for view in range(2)]}
    model = Checkpoint(
        make_config(), make_model(4).state_dict(), 1, ["elsewhere"], 4, photographs=seen
    )
    model.save(tmp_path / "leaked.pt")
    done = command("unseen", tmp_path / "leaked.pt")
    message = "2 photographs of the test scene 'attic' are those of elsewhere"
    assert message in str(done.exception)


def test_a_split_of_another_name_is_refused(command, tmp_path):
    assert command("all").exit_code == 2
    assert not (tmp_path / "out").exists()
