"""A step of the published sizes: kernels against the readable modules in float32, on a GPU."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from gsn.geometry.cameras import Cameras
from gsn.geometry.rays import pixel_rays
from gsn.model.sources import TeacherMaps
from gsn.training.losses import LossConfig, total_loss

PUBLISHED = {"encoder_width": 64, "encoder_blocks": (3, 4, 6), "encoder_channels": 32, "width": 64}
PUBLISHED |= {"depth": 4, "heads": 4, "samples": 192, "dropout": 0.0}
SIZE, N_VIEWS, CHANNELS, FOCAL_PX = (378, 504), 10, 64, 400.0


@pytest.fixture
def exact_convolutions():
    """In float32 the readable ones shall be just that."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def published(make_model, make_scene, exact_convolutions):
    """Return what makes a model and a scene of noise; its first view is the target."""

    def build(parity):
        scene = make_scene(n_views=1 + N_VIEWS, channels=CHANNELS, size=SIZE)
        intrinsics = scene.cameras.intrinsics.clone()
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = FOCAL_PX
        # All look the same way, from close to each other.
        poses = torch.eye(4).repeat(1 + N_VIEWS, 1, 1)
        poses[:, :3, 3] = 0.3 * scene.cameras.centres
        poses[0, 0, 3] = 0.4
        cameras = Cameras(intrinsics, poses, *SIZE)
        scene = replace(scene, cameras=cameras.to("cuda"), images=scene.images.cuda())
        maps = functional.normalize(scene.teacher.values.float(), dim=1).cuda()
        model = make_model(CHANNELS, parity=parity, **PUBLISHED).train()
        draw = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in model.parameters():  # some of them begin with zero
                parameter += 0.02 * torch.randn(parameter.shape, generator=draw)
        return model.cuda(), replace(scene, teacher=TeacherMaps(maps, scene.teacher.grid))

    return build


def render(model, scene, n_rays, fast, precision):
    """Return what is rendered from the photos of the scene, in a precision."""
    model.use_kernels = fast
    draw = torch.Generator().manual_seed(2)
    pixels = torch.rand(n_rays, 2, generator=draw) * torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0])
    rays = pixel_rays(scene.cameras[:1], pixels.cuda(), model.pixel_centre)
    near, far = torch.tensor(1.5, device="cuda"), torch.tensor(20.0, device="cuda")
    depths = model.depths(near, far).expand(n_rays, -1)
    views = torch.arange(1, 1 + N_VIEWS, device="cuda")
    with torch.autocast("cuda", precision, enabled=precision != torch.float32):
        sources = scene.encode(model, views)
        return model(sources, rays, depths, with_depth=True)


def step(model, scene, n_rays, fast, precision):
    """Return loss, rendering and the gradients of encoder and of the rest, as one vector each."""
    rendering = render(model, scene, n_rays, fast, precision)
    draw = torch.Generator().manual_seed(4)
    rgb = torch.rand(n_rays, 3, generator=draw).cuda()
    feature = torch.randn(n_rays, CHANNELS, generator=draw).cuda()
    settings = LossConfig(rgb_weight=1.0, feature_weight=1.0, feature_loss="mse")
    loss, _ = total_loss(rendering, rgb, functional.normalize(feature, dim=-1), settings)
    named = dict(model.named_parameters())
    found = torch.autograd.grad(loss, named.values(), allow_unused=True)
    parts = {True: [], False: []}
    for (name, weight), gradient in zip(named.items(), found, strict=True):
        gradient = torch.zeros_like(weight) if gradient is None else gradient
        parts[name.startswith("encoder.")].append(gradient.flatten())
    return loss.detach(), rendering, torch.cat(parts[True]), torch.cat(parts[False])


@pytest.mark.gpu
@pytest.mark.parametrize("parity", [False, True])
def test_in_bfloat16_a_step_has_the_loss_and_the_gradients_of_float32(
    published, relative_error, parity
):
    model, scene = published(parity)
    loss, rendering, *gradients = step(model, scene, 64, True, torch.bfloat16)
    expected_loss, expected, *exact = step(model, scene, 64, False, torch.float32)
    mixed = step(model, scene, 64, False, torch.bfloat16)[2:]
    assert relative_error(loss, expected_loss) < 1e-2
    for name in ("rgb", "feature", "depth"):
        assert relative_error(getattr(rendering, name), getattr(expected, name)) < 1e-2, name
    for got, by_autocast, gradient in zip(gradients, mixed, exact, strict=True):
        # Through so many layers bfloat16 itself may cost more: then about what it does by autocast.
        allowed = max(2e-2, 1.2 * relative_error(by_autocast, gradient))
        assert relative_error(got, gradient) < allowed


@pytest.mark.gpu
@pytest.mark.parametrize("parity", [False, True])
def test_in_float32_a_step_is_that_of_the_readable_modules(published, relative_error, parity):
    model, scene = published(parity)
    loss, rendering, *gradients = step(model, scene, 8, True, torch.float32)
    expected_loss, expected, *exact = step(model, scene, 8, False, torch.float32)
    assert relative_error(loss, expected_loss) < 1e-4
    for name in ("rgb", "feature", "depth"):
        assert relative_error(getattr(rendering, name), getattr(expected, name)) < 1e-4, name
    assert relative_error(gradients[1], exact[1]) < 1e-3


@pytest.mark.gpu
@torch.no_grad()
@pytest.mark.parametrize("parity", [False, True])
def test_what_is_rendered_without_gradients_agrees(published, relative_error, parity):
    model, scene = published(parity)
    model.eval()
    got = render(model, scene, 300, True, torch.bfloat16)
    expected = render(model, scene, 300, False, torch.float32)
    for name in ("rgb", "feature", "depth"):
        assert relative_error(getattr(got, name), getattr(expected, name)) < 1e-2, name
