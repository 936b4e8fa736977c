"""All stages, one after the other, on synthetic scenes of 8 tiny views."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import torch

from gsn.evaluation.config import EvaluateConfig
from gsn.model.checkpoint import load_checkpoint, load_stage_one
from gsn.model.network import GsnModel
from gsn.teachers import load_teacher
from gsn.teachers.teacher import TeacherConfig
from gsn.training.batches import draw_batch
from gsn.training.generators import Generators
from gsn.training.loop import batch_loss
from gsn.training.residence import load_scenes
from pipeline.config import ScenesConfig, load_section
from pipeline.distill import DistillConfig, distill
from pipeline.evaluate import Folders, evaluate
from pipeline.extract import ExtractConfig, extract
from pipeline.fetch import FetchConfig, fetch
from pipeline.prepare import PrepareConfig, prepare
from pipeline.pretrain import PretrainConfig, pretrain
from pipeline.reduce import ReduceConfig, reduce

CPU = torch.device("cpu")
CHANGES = {
    "teacher.name": "dino-demo",  # features that mean something: only these can be learnt
    "teacher.weights": "hub",
    "teacher.long_side_px": 96,
    "fetch.synthetic.n_views": 8,
    "pretrain.training.max_steps": 120,
    "pretrain.training.log_every": 20,
    "pretrain.training.checkpoint_every": 60,
    "pretrain.training.optimiser.warmup_steps": 10,
    "distill.training.max_steps": 120,
    "distill.training.log_every": 20,
    "distill.training.checkpoint_every": 60,
    "distill.training.optimiser.warmup_steps": 10,
    "evaluate.max_views_per_scene.unseen": 0,
    "evaluate.max_views_per_scene.seen": 0,
}
IMAGE_SCORES = {"psnr_db", "ssim", "feature_cosine", "feature_mse"}
MASK_SCORES = {"iou", "accuracy", "boundary_f", "average_precision"}
MASK_SCORES |= {f"{name}_std" for name in MASK_SCORES}
CONSISTENCY = {"consistency_cosine", "consistency_pck", "consistency_points"}
FEATURE_SCORES = MASK_SCORES | CONSISTENCY
SCORES = {
    "model": IMAGE_SCORES | FEATURE_SCORES,
    "carried_by_depth": IMAGE_SCORES | FEATURE_SCORES,
    "nearest_view": IMAGE_SCORES | FEATURE_SCORES,
    "mean_view": IMAGE_SCORES | FEATURE_SCORES,
    "colour_only": FEATURE_SCORES,
    "teacher_on_photo": FEATURE_SCORES,
}
SPLITS = {"unseen": ["c"], "seen": ["a", "b"]}


@dataclass
class Run:
    """What a run of all stages left."""

    folder: Path
    curves: dict[str, list[tuple[int, dict[str, float]]]]  # by stage

    def table(self, split, name="methods"):
        return json.loads((self.folder / split / f"{name}.json").read_text())


def make_data(folder, params):
    """Run fetch, prepare, extract and reduce."""
    scenes = load_section(params, "scenes", ScenesConfig)
    fetch(folder / "raw", scenes.all_scenes, load_section(params, "fetch", FetchConfig))
    cfg = load_section(params, "prepare", PrepareConfig)
    prepare(folder / "raw", folder / "prepared", scenes.all_scenes, cfg)
    packs = [folder / "prepared" / f"{name}.h5" for name in scenes.all_scenes]
    settings = load_section(params, "teacher", TeacherConfig)
    teacher = load_teacher(settings, CPU)
    cfg = load_section(params, "extract", ExtractConfig)
    extract(packs, folder / "features", teacher, cfg, CPU, scenes.train, settings.prompts)
    cfg = load_section(params, "reduce", ReduceConfig)
    reduce(packs, scenes.train, folder / "features", folder / "targets", cfg, CPU)


def train_and_score(folder, data, params):
    """Run pretrain, distill and, for both splits, evaluate."""
    scenes = load_section(params, "scenes", ScenesConfig)
    packs = [data / "prepared" / f"{name}.h5" for name in scenes.train]
    curves = {"pretrain": [], "distill": []}

    def add_to(stage):
        return lambda step, row: curves[stage].append((step, row))

    first, second, targets = folder / "pretrain.pt", folder / "distill.pt", data / "targets"
    cfg = load_section(params, "pretrain", PretrainConfig)
    pretrain(packs, first, cfg, CPU, add_to("pretrain"))
    cfg = load_section(params, "distill", DistillConfig)
    distill(packs, targets, first, second, cfg, CPU, add_to("distill"))
    cfg = load_section(params, "evaluate", EvaluateConfig)
    for split, names in SPLITS.items():
        renders = folder / "renders"
        folders = Folders(data / "raw", data / "prepared", targets, renders, folder / split)
        evaluate(names, second, folders, cfg, split, CPU)
    return Run(folder, curves)


@pytest.fixture(scope="module")
def params(tmp_path_factory, write_params):
    path = tmp_path_factory.mktemp("smoke") / "params.yaml"
    write_params(path, CHANGES)
    return path


@pytest.fixture(scope="module")
def data(params):
    make_data(params.parent, params)
    return params.parent


@pytest.fixture(scope="module")
def run(params, data):
    return train_and_score(data / "run", data, params)


@pytest.fixture(scope="module")
def started(run, params):
    """The models that the stages started from."""
    cfg = load_section(params, "pretrain", PretrainConfig)
    torch.manual_seed(cfg.training.seed)
    first = GsnModel(cfg.model)
    dims = load_section(params, "reduce", ReduceConfig).dims
    torch.manual_seed(load_section(params, "distill", DistillConfig).training.seed)
    second = GsnModel(cfg.model, dims)
    load_stage_one(second, load_checkpoint(run.folder / "pretrain.pt"))
    return {"pretrain": first, "distill": second}


# Both begin with what the source views show, which is not far from the truth.
@pytest.mark.parametrize(("stage", "part"), [("pretrain", 0.8), ("distill", 0.95)])
def test_the_loss_falls_in_both_stages(run, data, params, started, stage, part):
    """On the same batches: from one to the next it differs more than training changes it."""
    kind = {"pretrain": PretrainConfig, "distill": DistillConfig}[stage]
    cfg = load_section(params, stage, kind).training
    packs = [data / "prepared" / f"{name}.h5" for name in SPLITS["seen"]]
    scenes = load_scenes(packs, CPU, data / "targets" if stage == "distill" else None)

    @torch.no_grad()
    def loss(model):
        generators = Generators.seeded(0, CPU)
        batches = [draw_batch(scenes, model, cfg.batch, generators) for _ in range(24)]
        return sum(float(batch_loss(model, batch, cfg.loss)[0]) for batch in batches) / 24

    trained = load_checkpoint(run.folder / f"{stage}.pt").build_model(CPU)
    assert loss(trained.eval()) < part * loss(started[stage].eval())


def test_both_stages_show_their_losses(run):
    for curve in run.curves.values():
        assert [step for step, _ in curve] == [20, 40, 60, 80, 100, 120]
        assert all(math.isfinite(value) for _, row in curve for value in row.values())


def test_the_rendered_features_are_the_teachers(run):
    cosines = [row["feature_cosine"] for _, row in run.curves["distill"]]
    assert cosines[-1] > 0.92, cosines


@pytest.mark.parametrize("split", SPLITS)
def test_tables_hold_the_scores_of_every_method_and_scene(run, split):
    methods = run.table(split)
    scenes, objects = methods.pop("scenes"), methods.pop("objects")
    assert list(scenes) == list(objects) == SPLITS[split]
    for of_scene in objects.values():
        assert all(set(of_object) == set(SCORES) for of_object in of_scene.values())
    for scores in (methods, *scenes.values()):
        assert {method: set(of_method) for method, of_method in scores.items()} == SCORES
        for of_method in scores.values():
            assert all(math.isfinite(value) for value in of_method.values())
    assert run.table(split, "metrics").items() <= methods["model"].items()


@pytest.mark.parametrize("split", SPLITS)
def test_scores_are_means_over_scenes(run, split):
    methods = run.table(split)
    del methods["objects"]
    scenes = methods.pop("scenes").values()
    for method, scores in methods.items():
        for name, value in scores.items():
            if not name.endswith("_std"):
                of_scenes = [scene[method][name] for scene in scenes]
                assert value == pytest.approx(sum(of_scenes) / len(of_scenes))


def test_a_second_evaluation_renders_nothing_and_says_the_same(run, data, params, monkeypatch):
    def never(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr("gsn.evaluation.views.rendering.render_camera", never)
    cfg = load_section(params, "evaluate", EvaluateConfig)
    out = run.folder / "again"
    renders, targets = run.folder / "renders", data / "targets"
    folders = Folders(data / "raw", data / "prepared", targets, renders, out)
    evaluate(SPLITS["unseen"], run.folder / "distill.pt", folders, cfg, "unseen", CPU)
    assert run.table("again") == run.table("unseen")
    for path in (run.folder / "unseen" / "images").rglob("*.png"):
        other = out / path.relative_to(run.folder / "unseen")
        assert other.read_bytes() == path.read_bytes()


def test_the_page_stands_alone_and_the_film_plays(run):
    page = (run.folder / "unseen" / "index.html").read_text()
    assert "<html" in page
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page)
    film = cv2.VideoCapture(str(run.folder / "unseen" / "films" / "c" / "orbit.mp4"))
    assert film.isOpened()
    assert film.read()[1].std() > 10
    assert not list((run.folder / "seen").rglob("*.mp4"))


def test_every_held_out_view_has_a_picture(run):
    pictures = sorted(path for split in SPLITS for path in (run.folder / split).glob("images/*/*"))
    # 8 views, every 4th held out.
    expected = [
        run.folder / split / "images" / scene / f"view_{view:03d}.png"
        for split, scenes in SPLITS.items()
        for scene in scenes
        for view in (0, 4)
    ]
    assert pictures == sorted(expected)
    for path in pictures:
        assert cv2.imread(str(path)).std() > 10, path


def test_the_same_seed_gives_the_same_curves_and_metrics(run, data, params):
    again = train_and_score(data / "again", data, params)
    assert again.curves == run.curves
    for split in SPLITS:
        assert again.table(split) == run.table(split)


def test_another_seed_gives_another_result(run, data, tmp_path, write_params):
    params = tmp_path / "params.yaml"
    write_params(params, CHANGES | {"pretrain.training.seed": 1})
    other = train_and_score(tmp_path, data, params)
    assert other.curves["pretrain"] != run.curves["pretrain"]
    assert other.table("unseen", "metrics") != run.table("unseen", "metrics")
