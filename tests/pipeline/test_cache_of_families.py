"""The cache of stage `extract` with a teacher of each family; the large ones are made small."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.features.store import FeatureMaps
from gsn.features.update import store_path
from gsn.teachers import clip, load_teacher, sam
from gsn.teachers.clip_teacher import import_open_clip
from gsn.teachers.teacher import ClipConfig, TeacherConfig, VitConfig
from gsn.teachers.vision_transformer import import_timm
from pipeline.extract import ExtractConfig, extract

CPU = torch.device("cpu")
RAW = ExtractConfig(keep_raw=True, kept_dims=2)
SIDE = 64
VIT = {"layers": [-1], "facet": "token", "stride_px": None}
CLIP = {"mode": "dense", "window_px": [32], "window_stride_px": 16, "merge": "mean"}


@dataclass(frozen=True)
class Family:
    """A teacher of a family, and the same with another option."""

    name: str
    option: dict[str, Any]  # settings of `teacher` that differ
    first: dict[str, Any]  # settings that do not


FAMILIES = [
    Family("dino_vits16", {"vit": VIT | {"layers": [3]}}, {}),
    Family("dino_vits16", {"vit": VIT | {"facet": "key"}}, {}),
    Family("dinov2_vits14", {"vit": VIT | {"layers": [2, 5]}}, {}),
    Family("dinov3_vits16", {"vit": VIT | {"layers": [4]}}, {}),
    Family("clip_vitb16", {"clip": CLIP | {"mode": "windows"}}, {}),
    Family("siglip_vitb16", {"clip": CLIP | {"mode": "windows"}}, {}),
    Family("sam_vitb16", {"long_side_px": 48}, {"long_side_px": 64}),
]


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """CLIP, SigLIP and SAM of two blocks, as their modules would create them."""

    def small_clip(variant, quick_gelu, from_hub):
        open_clip = import_open_clip()
        text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
        if "SigLIP" in variant.architecture:
            vision = {"timm_model_name": "test_vit", "image_size": 32, "timm_proj": "none"}
            network = open_clip.CustomTextCLIP(48, vision | {"timm_pool": "avg"}, text)
            from timm.models.vision_transformer import VisionTransformer

            network.visual.trunk = VisionTransformer(
                **{"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3},
                **{"class_token": False, "global_pool": "map", "num_classes": 0},
            )
            return network
        vision = {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16}
        return open_clip.CLIP(24, vision, text)

    def small_sam(from_hub):
        return import_timm().create_model(
            "samvit_base_patch16",
            **{"num_classes": 0, "embed_dim": 24, "num_heads": 2, "depth": 2},
            global_attn_indexes=[1],
        )

    monkeypatch.setattr(clip, "_create", small_clip)
    monkeypatch.setattr(sam, "create_sam", small_sam)


class Counted:
    """A teacher that remembers how many photographs it was shown."""

    def __init__(self, teacher):
        self._teacher = teacher
        self.n_shown = 0

    def __getattr__(self, name):
        return getattr(self._teacher, name)

    def __call__(self, images):
        self.n_shown += len(images)
        return self._teacher(images)


def build(name, **settings):
    values = {"weights": "seeded", "seed": 0, "long_side_px": None, "prompts": []} | settings
    vit, clip_section = values.pop("vit", VIT), values.pop("clip", CLIP)
    config = TeacherConfig(
        name=name, vit=VitConfig(**vit), clip=ClipConfig(**clip_section), **values
    )
    return load_teacher(config, CPU)


def make_maps(path, out, teacher):
    """Run the stage; return how many photographs the teacher was shown."""
    counted = Counted(teacher)
    extract([path], out, counted, RAW, CPU, ["s"])
    return counted.n_shown


def write_views(folder, n_views):
    rng = np.random.default_rng(0)
    capture = Capture(
        name="s",
        view_names=tuple(f"v{k}" for k in range(n_views)),
        image_sha256=("",) * n_views,
        images=np.stack(
            [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(n_views)]
        ),
        intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
        cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
        near=1.0,
        far=2.0,
    )
    path = folder / "s.h5"
    write_pack(path, capture, np.zeros(n_views, dtype=np.bool_))
    return path


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def assert_maps_are_of(out, teacher, path):
    """Compare every map with what the teacher gives, by hand."""
    maps = FeatureMaps(store_path(out, "s"))
    assert maps.header.made_by["name"] == teacher.name
    rng = np.random.default_rng(0)
    for view in range(len(maps)):
        image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        expected = teacher(torch.from_numpy(image)[None])[0].half().numpy()
        np.testing.assert_array_equal(maps.read(view), expected)


@pytest.mark.parametrize(
    "family", FAMILIES, ids=lambda family: f"{family.name}-{next(iter(family.option))}"
)
def test_another_option_makes_other_maps_and_swapping_back_costs_nothing(tmp_path, family):
    path, out = write_views(tmp_path, 2), tmp_path / "features" / family.name
    one = build(family.name, **family.first)
    other = build(family.name, **(family.first | family.option))
    assert one.fingerprint != other.fingerprint
    assert make_maps(path, out, one) == 2
    before = digests(out)
    assert_maps_are_of(out, one, path)

    assert make_maps(path, out, other) == 2
    assert_maps_are_of(out, other, path)
    swapped = digests(out)
    assert swapped["s.zarr/c.0.0.0.0"] != before["s.zarr/c.0.0.0.0"]
    assert make_maps(path, out, one) == 0
    assert digests(out) == before
    assert make_maps(path, out, other) == 0
    assert digests(out) == swapped

    assert make_maps(write_views(tmp_path, 3), out, other) == 1
    assert_maps_are_of(out, other, path)


def test_two_teachers_live_side_by_side(tmp_path):
    path, folder = write_views(tmp_path, 2), tmp_path / "features"
    teachers = [build("dino_vits16"), build("clip_vitb16")]
    assert [make_maps(path, folder / each.name, each) for each in teachers] == [2, 2]
    before = digests(folder)
    assert [make_maps(path, folder / each.name, each) for each in teachers] == [0, 0]
    assert digests(folder) == before
    for teacher in teachers:
        assert_maps_are_of(folder / teacher.name, teacher, path)
