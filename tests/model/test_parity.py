"""The renderer agrees with the published implementation on its own numbers."""

import copy
import importlib.util
import json

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.geometry.rays import pixel_rays
from gsn.model.checkpoint import load_checkpoint
from gsn.model.import_reference import main
from gsn.model.sources import TeacherMaps, observe


def load_builder(folder):
    spec = importlib.util.spec_from_file_location("weights", folder / "reference_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_state_dict


@pytest.fixture(scope="module")
def case(parity_folder):
    with safe_open(parity_folder / "renderer_case.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        return tensors, file.metadata()


@pytest.fixture(scope="module")
def model(parity_folder, case, tmp_path_factory):
    import typer

    folder = tmp_path_factory.mktemp("reference")
    shapes = json.loads(case[1]["shapes"])
    build = load_builder(parity_folder)
    torch.save({part: build(part, shapes[part]) for part in shapes}, folder / "in.pth")
    app = typer.Typer()
    app.command()(main)
    arguments = [str(folder / "in.pth"), str(folder / "out.pt"), "--samples", case[1]["samples"]]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return load_checkpoint(folder / "out.pt").build_model(torch.device("cpu"))


def unpack(packed):
    """34 numbers per camera: H, W, K (4×4), cam_to_world (4×4)."""
    height, width = (int(x) for x in packed[0, :2])
    return Cameras(
        packed[:, 2:18].reshape(-1, 4, 4)[:, :3, :3].contiguous(),
        packed[:, 18:].reshape(-1, 4, 4),
        height,
        width,
    )


@torch.no_grad()
def render(model, t):
    cameras = unpack(t["source_cameras"])
    teacher = TeacherMaps(t["source_features_lowres"], CellGrid((0, 0), (1, 1)))
    sources = model.encode(cameras, t["source_images"].permute(0, 3, 1, 2).contiguous(), teacher)
    rays = pixel_rays(unpack(t["target_camera"][None]), t["pixels_xy"], model.pixel_centre)
    depths = model.depths(*t["depth_range"]).expand(len(rays), -1)
    return sources, rays, depths, model(sources, rays, depths, with_depth=True)


def relative_error(got, expected):
    return float((got - expected).abs().max() / expected.abs().max())


def test_colour_and_feature_agree_with_the_published_code(case, model):
    tensors, _ = case
    _, _, _, rendering = render(model, tensors)
    assert relative_error(rendering.rgb, tensors["out_rgb"]) < 1e-4
    assert relative_error(rendering.feature, tensors["out_feature"]) < 1e-4


def test_every_step_on_the_way_agrees(case, model):
    t, _ = case
    sources, rays, depths, _ = render(model, t)
    with torch.no_grad():
        seen = observe(sources, rays, rays.points(depths), parity=True)
        token = model.renderer(seen, rays, rays.points(depths)).token
    assert relative_error(sources.encoded, t["out_feature_maps"]) < 1e-4
    assert relative_error(rays.directions, t["ray_d"]) < 1e-5
    assert relative_error(depths, t["out_depths"]) < 1e-5
    assert relative_error(rays.points(depths), t["out_points"]) < 1e-5
    assert relative_error(seen.ray_difference, t["out_ray_diff"]) < 1e-4
    assert torch.equal(seen.visible, t["out_mask"][..., 0].bool())
    assert relative_error(seen.appearance, t["out_sampled_rgb_feat"]) < 1e-4
    assert relative_error(token, t["out_q"]) < 1e-4


def test_depth_weights_sum_to_one_and_depth_lies_on_the_ray(case, model):
    t, _ = case
    _, _, depths, rendering = render(model, t)
    torch.testing.assert_close(rendering.depth_weights.sum(1), torch.ones(len(depths)))
    assert ((rendering.depth >= depths[:, 0]) & (rendering.depth <= depths[:, -1])).all()


@torch.no_grad()
def test_the_kernels_agree_with_the_published_code_too(case, model, monkeypatch):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n_rays = 24
    monkeypatch.setattr("gsn.model.network.kernels_run_on", lambda device: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    if device.type == "cpu":
        # Interpreted, a ray takes seconds and the encoder, which has tests of its own, minutes.
        n_rays = 2
        monkeypatch.setattr(
            "gsn.model.kernels.encode.fast_encode", lambda encoder, images: encoder(images)
        )
    tensors = {name: x.to(device) for name, x in case[0].items()}
    some = tensors | {"pixels_xy": tensors["pixels_xy"][:n_rays]}
    *_, rendering = render(copy.deepcopy(model).to(device), some)
    assert relative_error(rendering.rgb, tensors["out_rgb"][:n_rays]) < 1e-4
    assert relative_error(rendering.feature, tensors["out_feature"][:n_rays]) < 1e-4
