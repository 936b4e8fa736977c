"""Shared by all tests: the gpu mark, the folder of reference data, a tiny scene and model."""

import functools
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings

if not torch.cuda.is_available():  # triton looks once, when it is imported: so before gsn's kernels
    os.environ.setdefault("TRITON_INTERPRET", "1")

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.model.network import GsnModel, ModelConfig
from gsn.model.scene import Scene
from gsn.model.sources import TeacherMaps
from gsn.seal import MAGIC, write_sealed

torch.set_num_threads(1)  # tensors are tiny here: a second thread is only waited for
# The same inputs in every run: a failure is of the change at hand. `reliability.fuzz` finds others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def shared_folder(name):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: reference data lie beside the checkout")
    return folder


@pytest.fixture(scope="session")
def parity_folder():
    return shared_folder("parity")


@pytest.fixture(scope="session")
def captures_folder():
    return shared_folder("captures")


@pytest.fixture(scope="session")
def make_config():
    """Return settings of a model of a few thousand weights, with changes."""
    tiny = {"encoder_width": 4, "encoder_blocks": (1, 1, 1), "encoder_channels": 5, "width": 16}
    tiny |= {"depth": 2, "heads": 2, "samples": 6, "inverse_depth": True, "dropout": 0.0}
    return lambda **changes: ModelConfig(**(tiny | {"parity": False} | changes))


@pytest.fixture(scope="session")
def make_model(make_config):
    """Return a seeded model in evaluation mode; `feature_channels` gives it a feature head."""

    def build(feature_channels=None, seed=0, **changes):
        torch.manual_seed(seed)
        return GsnModel(make_config(**changes), feature_channels).eval()

    return build


def look_ahead(x, y, turn):
    """Camera at (x, y, 0) that looks along z, turned about its vertical axis."""
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = math.cos(turn)
    pose[0, 2], pose[2, 0] = math.sin(turn), -math.sin(turn)
    pose[:2, 3] = torch.tensor([x, y])
    return pose


@pytest.fixture(scope="session")
def make_scene():
    """Return a scene of noise: cameras in a row, 24 × 28 pixels, 4 × 4 pixels a teacher cell."""

    def build(name="noise", seed=0, n_views=6, held_out=(0,), channels=4, size=(24, 28)):
        draw = torch.Generator().manual_seed(seed)
        height, width = size
        poses = [look_ahead(0.3 * i, 0.1 * (i % 2), 0.3 - 0.1 * i) for i in range(n_views)]
        intrinsics = torch.tensor([[30.0, 0, width / 2], [0, 30.0, height / 2], [0, 0, 1]])
        held = torch.zeros(n_views, dtype=torch.bool)
        held[list(held_out)] = True
        images = torch.randint(256, (n_views, 3, height, width), generator=draw)
        maps = torch.randn(n_views, channels or 1, height // 4, width // 4, generator=draw)
        return Scene(
            name=name,
            view_names=tuple(f"{name}_{i}" for i in range(n_views)),
            held_out=held,
            cameras=Cameras(intrinsics.repeat(n_views, 1, 1), torch.stack(poses), height, width),
            images=images.to(torch.uint8),
            near=torch.tensor(1.2),
            far=torch.tensor(8.0),
            teacher=TeacherMaps(maps.half(), CellGrid.of_patches((4, 4))) if channels else None,
            teacher_name="fake" if channels else "",
            basis=("basis.npz", "b" * 64) if channels else None,
        )

    return build


@pytest.fixture(scope="session")
def write_photographs():
    """Return what writes a pack of photographs that are told apart by their hashes alone."""

    def write(path, photographs):
        n_views = len(photographs)
        capture = Capture(
            name=path.stem,
            view_names=tuple(f"view_{i}" for i in range(n_views)),
            image_sha256=tuple(photographs),
            images=np.zeros((n_views, 4, 5, 3), np.uint8),
            intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
            cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
            near=1.0,
            far=2.0,
        )
        write_pack(path, capture, np.zeros(n_views, bool))

    return write


@pytest.fixture(scope="session")
def seal_again():
    """Return what seals a file that a test has written or changed."""

    def seal(path):
        content = path.read_bytes()
        # HDF5 leaves what follows its own end, a changed zip archive is written anew without.
        write_sealed(path, content.partition(MAGIC)[0])

    return seal


# A run of all stages in seconds, by dotted keys of params.yaml.
TINY = {
    "scenes.train": ["a", "b"],
    "scenes.test": ["c"],
    "teacher.name": "dino_vits16",
    "teacher.weights": "seeded",
    "teacher.long_side_px": None,
    "teacher.prompts": [],
    "fetch.synthetic.n_views": 6,
    "fetch.synthetic.width_px": 48,
    "fetch.synthetic.height_px": 36,
    "fetch.synthetic.min_objects": 2,
    "fetch.synthetic.max_objects": 2,
    "fetch.synthetic.samples_per_side": 1,
    "prepare.long_side_px": 48,
    "prepare.hold": 4,
    "extract.kept_dims": 16,
    "reduce.dims": 8,
    "pretrain.model.encoder_width": 4,
    "pretrain.model.encoder_channels": 8,
    "pretrain.model.width": 16,
    "pretrain.model.depth": 1,
    "pretrain.model.heads": 2,
    "pretrain.model.samples": 8,
    "evaluate.source_views": 3,
    "evaluate.max_views_per_scene.unseen": 1,
    "evaluate.max_views_per_scene.seen": 1,
    "evaluate.lpips": False,
    "evaluate.segmentation.n_clusters": 2,
    "evaluate.strokes.seeds": [0, 1],
    "evaluate.orbit.frames.unseen": 2,
}
for _stage in ("pretrain", "distill"):
    TINY[f"{_stage}.training.batch.rays"] = 64
    TINY[f"{_stage}.training.batch.source_views"] = 3
    TINY[f"{_stage}.training.batch.source_views_spread"] = 0
    TINY[f"{_stage}.training.batch.neighbourhood_max"] = 4


@pytest.fixture(scope="session")
def write_params():
    """Return what writes the repository's settings, made tiny and with changes, to a file."""

    def write(path, changes):
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        for key, value in (TINY | changes).items():
            *sections, last = key.split(".")
            section = functools.reduce(lambda part, name: part[name], sections, params)
            assert last in section, f"params.yaml has no {key}"
            section[last] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    return write
