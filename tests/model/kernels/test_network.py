"""The whole renderer and feature head, by kernels and by the readable modules."""

import math

import pytest
import torch

from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.geometry.rays import pixel_rays
from gsn.model.sources import SourceViews, TeacherMaps, observe
from gsn.model.transformers import ViewTransformer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZE = (24, 28)


@pytest.fixture(autouse=True)
def kernels_run_everywhere(monkeypatch):
    """On a CPU they are interpreted."""
    monkeypatch.setattr("gsn.model.network.kernels_run_on", lambda device: True)


def make_cameras(turns, size=SIZE, focal_px=30.0):
    """Cameras close to each other and the target, last, among them; one turned away sees little."""
    height, width = size
    poses = torch.eye(4).repeat(len(turns), 1, 1)
    for i, turn in enumerate(turns):
        poses[i, 0, 0] = poses[i, 2, 2] = math.cos(turn)
        poses[i, 0, 2], poses[i, 2, 0] = math.sin(turn), -math.sin(turn)
        poses[i, :2, 3] = torch.tensor([0.15 * i, 0.08 * (i % 3)])
    poses[-1, 0, 3] = 0.4 * poses[-1, 0, 3]
    intrinsics = torch.tensor([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    return Cameras(intrinsics.repeat(len(turns), 1, 1), poses, height, width).to(DEVICE)


def make_sources(model, turns, draw):
    """Return source views of noise and the target camera."""
    n_views, config = len(turns), model.config
    cameras = make_cameras([*turns, 0.0])
    teacher = None
    if model.feature_channels:
        maps = torch.randn(n_views, model.feature_channels, 6, 7, generator=draw).to(DEVICE)
        teacher = TeacherMaps(maps, CellGrid.of_patches((4, 4)))
    images = torch.rand(n_views, 3, *SIZE, generator=draw).to(DEVICE)
    encoded = torch.randn(n_views, config.encoder_channels, 6, 7, generator=draw).to(DEVICE)
    return SourceViews(cameras[:-1], images, encoded.requires_grad_(), teacher), cameras[-1:]


def make_rays(model, target, pixels, turn_back):
    """Return rays of the middle of the target; of the last one no view sees anything."""
    rays = pixel_rays(target, torch.tensor(pixels, device=DEVICE), model.pixel_centre)
    if turn_back:
        rays.directions[-1] *= -1
    near, far = torch.tensor(1.5, device=DEVICE), torch.tensor(5.0, device=DEVICE)
    return rays, model.depths(near, far).expand(len(rays), -1)


@torch.no_grad()
def perturb(model, draw, spread=0.4):
    """Change all weights: some begin with zero, and others would have no gradient.

    A block has few inner units, which shall be on for some views and off for others: else queries,
    which are the same for all views, do not matter to the softmax over these.
    """
    for parameter in model.parameters():
        parameter += spread * torch.randn(parameter.shape, generator=draw)
    for block in model.modules():
        if isinstance(block, ViewTransformer):
            block.position[0].weight[:, 3] = 0.0  # of the cosine, which is always near 1
            block.position[0].bias[:] = 0.0
    return model.to(DEVICE)


PIXELS = [[9, 9], [14, 12], [18, 8], [12, 15]]


def make_case(make_model, turns, channels=None, turn_back=True, pixels=PIXELS, **changes):
    """Return model, source views, rays and depths."""
    draw = torch.Generator().manual_seed(0)
    model = perturb(make_model(channels, **changes), draw)
    sources, target = make_sources(model, turns, draw)
    return model, sources, *make_rays(model, target, pixels, turn_back)


def outcome(case, fast, train=False, with_gradients=True):
    """Return what is rendered, and the gradients of all weights and of the encoder's map."""
    model, sources, rays, depths = case
    model.train(train).use_kernels = fast
    with torch.set_grad_enabled(with_gradients):
        rendering = model(sources, rays, depths, with_depth=True)
    found = {"rgb": rendering.rgb, "feature": rendering.feature}
    found |= {"depth": rendering.depth, "weights": rendering.depth_weights}
    found = {name: x for name, x in found.items() if x is not None}
    gradients = {}
    if with_gradients:
        draw = torch.Generator().manual_seed(1)
        loss = sum((x * torch.randn(x.shape, generator=draw).to(x)).sum() for x in found.values())
        given = {"encoded": sources.encoded} | {
            name: p for name, p in model.named_parameters() if not name.startswith("encoder.")
        }
        parts = torch.autograd.grad(loss, given.values(), allow_unused=True)
        gradients = {
            name: torch.zeros_like(x) if part is None else part
            for (name, x), part in zip(given.items(), parts, strict=True)
        }
    return {name: x.detach() for name, x in found.items()}, gradients


def assert_same(case, relative_error, **options):
    """Fail where the kernels do something else, or where a gradient is too small to tell."""
    results, gradients = outcome(case, True, **options)
    expected_results, expected = outcome(case, False, **options)
    assert results.keys() == expected_results.keys()
    for name, value in expected_results.items():
        assert relative_error(results[name], value) < 1e-4, name
    for name, gradient in expected.items():
        error = float((gradients[name] - gradient).norm())
        # What adds the same to all that a softmax compares has no gradient but rounding.
        nothing = name.endswith(("score.2.bias", "blend.surface.bias", "blend.key.bias"))
        assert nothing or gradient.norm() > 5e-3, name
        assert error < (1e-5 if nothing else 1e-4 * float(gradient.norm())), name


ODD = {"width": 24, "heads": 3, "samples": 9, "encoder_channels": 7}


@pytest.mark.parametrize("parity", [False, True])
def test_of_odd_sizes_results_and_all_gradients_are_the_same(make_model, relative_error, parity):
    changes = ODD | {"parity": parity, "depth": 1, "dropout": 0.0}
    case = make_case(make_model, [0.0, 0.1, 0.7, 0.0, 1.6], 3, **changes)
    _, sources, rays, depths = case
    seen = observe(sources, rays, rays.points(depths), parity).visible
    assert seen[:-1].sum(dim=-1).float().mean() > 2.5  # else no view is preferred to another
    assert not seen[-1].any()
    assert not seen[..., -1].any()
    assert_same(case, relative_error, train=True)


def test_gradients_pass_through_several_blocks(make_model, relative_error):
    case = make_case(make_model, [0.0, 0.1, 0.6], turn_back=False, depth=2, width=32)
    assert_same(case, relative_error)


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(
    ("turns", "channels", "depth"),
    [([0.1], 4, 2), ([0.0, 0.2], None, 3), ([0.0, 0.2, 0.7, 1.6], None, 1)],
)
def test_any_number_of_views_and_blocks_renders_the_same(
    make_model, relative_error, parity, turns, channels, depth
):
    case = make_case(make_model, turns, channels, parity=parity, depth=depth, samples=7)
    assert_same(case, relative_error, with_gradients=False)


@pytest.mark.parametrize("parity", [False, True])
def test_rays_that_no_view_sees_give_finite_gradients(make_model, parity):
    changes = {"parity": parity, "depth": 1, "samples": 4, "heads": 1}
    model, sources, rays, depths = make_case(
        make_model, [0.0, 0.1], 3, pixels=PIXELS[:1], **changes
    )
    results, gradients = outcome((model, sources, rays, depths), True)
    for found in (*results.values(), *gradients.values()):
        assert found.isfinite().all()


@pytest.mark.parametrize(
    "name",
    [
        "embed.0.weight",
        "view_blocks.0.position.0.weight",
        "view_blocks.0.score.0.weight",
        "view_blocks.0.feed.grow.weight",
        "ray_blocks.0.feed.grow.weight",
    ],
)
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.filterwarnings("ignore:All-NaN slice")  # of NumPy, which interprets kernels
def test_a_weight_that_is_not_a_number_is_not_hidden(make_model, name, train):
    """Else a step that diverged would be taken, and a damaged model would render."""
    changes = {"depth": 1, "samples": 4, "heads": 1, "dropout": 0.2}
    case = make_case(make_model, [0.0, 0.1], 3, turn_back=False, pixels=PIXELS[:2], **changes)
    case[0].get_parameter(f"renderer.{name}").data.view(-1)[0] = torch.nan
    results, gradients = outcome(case, True, train, with_gradients=train)
    expected, _ = outcome(case, False, with_gradients=False)
    for key in ("rgb", "feature"):
        assert expected[key].isnan().all()
        assert results[key].isnan().all(), key
    if train:
        assert any(gradient.isnan().any() for gradient in gradients.values())


def test_dropout_works_in_training_alone(make_model):
    changes = {"depth": 1, "samples": 4, "heads": 1, "dropout": 0.5}
    case = make_case(make_model, [0.0, 0.1], pixels=PIXELS[:1], turn_back=False, **changes)
    torch.manual_seed(0)
    still = [outcome(case, True, with_gradients=False)[0]["rgb"] for _ in range(2)]
    assert torch.equal(*still)
    noisy = [outcome(case, True, True, with_gradients=False)[0]["rgb"] for _ in range(2)]
    assert not torch.allclose(*noisy)


def test_switched_off_the_readable_modules_run(make_model, monkeypatch):
    def fail(*_):
        raise AssertionError("a kernel was asked")

    monkeypatch.setattr("gsn.model.kernels.network.render_colour", fail)
    case = make_case(make_model, [0.0, 0.1], depth=1)
    outcome(case, False)
    with pytest.raises(AssertionError, match="a kernel was asked"):
        outcome(case, True)
