from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from gsn.geometry.rays import Rays, pixel_grid, pixel_rays
from gsn.model.network import GsnModel, ModelConfig, count_parameters, pick_autocast
from gsn.model.sources import observe

PUBLISHED = {"encoder_width": 64, "encoder_blocks": (3, 4, 6), "encoder_channels": 32, "width": 64}
PUBLISHED |= {"depth": 4, "heads": 4, "samples": 192, "inverse_depth": True, "dropout": 0.1}
SOURCES = torch.tensor([1, 2, 4])


@pytest.fixture(scope="module")
def views(make_scene):
    return make_scene()


def target_rays(scene, model, stride=5):
    camera = scene.cameras[torch.tensor([3])]
    return pixel_rays(camera, pixel_grid(camera.height, camera.width, stride), model.pixel_centre)


@torch.no_grad()
def render(model, scene, rays=None, **options):
    rays = rays or target_rays(scene, model)
    depths = model.depths(scene.near, scene.far).expand(len(rays), -1)
    return model(scene.encode(model, SOURCES), rays, depths, **options)


@pytest.mark.parametrize(("channels", "total"), [(None, 9_326_083), (64, 9_736_867)])
def test_the_published_model_has_as_many_weights_as_counted(channels, total):
    with torch.device("meta"):
        model = GsnModel(ModelConfig(**PUBLISHED, parity=True), channels)
    assert count_parameters(model) == total


def test_frozen_weights_are_not_counted(make_model):
    model = make_model()
    before = count_parameters(model)
    model.renderer.rgb.requires_grad_(False)
    assert before - count_parameters(model) == 3 * 16 + 3


def test_samples_reach_from_near_to_far(make_model):
    depths = make_model(samples=9).depths(torch.tensor(1.2), torch.tensor(48.0))
    assert len(depths) == 9
    torch.testing.assert_close(depths[[0, 4, 8]], torch.tensor([1.2, 2 / (1 / 1.2 + 1 / 48), 48]))
    even = make_model(samples=3, inverse_depth=False).depths(torch.tensor(2.0), torch.tensor(6.0))
    assert even.tolist() == [2, 4, 6]


def test_rays_leave_from_pixel_centres_and_in_parity_mode_from_corners(make_model):
    assert make_model().pixel_centre == 0.5
    assert make_model(parity=True).pixel_centre == 0.0


@pytest.mark.parametrize("parity", [False, True])
def test_stage_one_renders_colour_and_stage_two_features_as_well(make_model, views, parity):
    first = render(make_model(parity=parity), views)
    assert first.rgb.shape == (30, 3)
    assert (first.feature, first.depth, first.depth_weights) == (None, None, None)
    assert render(make_model(4, parity=parity), views).feature.shape == (30, 4)


def test_the_head_does_not_change_the_colour(make_model, views):
    model = make_model(4)
    without = replace(views, teacher=None)
    colour = render(model, without, with_feature=False)
    torch.testing.assert_close(colour.rgb, render(model, views).rgb)
    assert colour.feature is None
    with pytest.raises(ValueError, match="teacher's maps"):
        render(model, without)


def test_each_ray_is_rendered_by_itself(make_model, views):
    model = make_model(4)
    rays = target_rays(views, model)
    whole = render(model, views, rays, with_depth=True)
    part = render(model, views, rays[7:9], with_depth=True)
    torch.testing.assert_close(part.rgb, whole.rgb[7:9])
    torch.testing.assert_close(part.feature, whole.feature[7:9])
    torch.testing.assert_close(part.depth, whole.depth[7:9])


def test_the_order_of_source_views_does_not_count(make_model, views):
    model = make_model(4)
    rays = target_rays(views, model)
    depths = model.depths(views.near, views.far).expand(len(rays), -1)
    with torch.no_grad():
        some = [
            model(views.encode(model, SOURCES[order]), rays, depths)
            for order in ([0, 1, 2], [2, 0, 1])
        ]
    torch.testing.assert_close(some[0].rgb, some[1].rgb)
    torch.testing.assert_close(some[0].feature, some[1].feature)


@pytest.mark.parametrize("parity", [False, True])
def test_depth_is_the_mean_of_the_samples_by_their_weights(make_model, views, parity):
    model = make_model(parity=parity)
    rendering = render(model, views, with_depth=True)
    depths = model.depths(views.near, views.far)
    weights = rendering.depth_weights
    torch.testing.assert_close(weights.sum(1), torch.ones(30))
    assert (weights >= 0).all()
    for ray in range(30):
        by_hand = sum(float(w) * float(z) for w, z in zip(weights[ray], depths, strict=True))
        assert float(rendering.depth[ray]) == pytest.approx(by_hand, rel=1e-5)
    assert ((rendering.depth >= views.near) & (rendering.depth <= views.far)).all()


@torch.no_grad()
def test_samples_that_do_not_count_have_no_say_in_the_depth(make_model, views):
    model = make_model()
    rays = target_rays(views, model)
    depths = model.depths(views.near, views.far).expand(len(rays), -1)
    sources = views.encode(model, SOURCES)
    seen = observe(sources, rays, rays.points(depths))
    tokens = model.renderer(seen, rays, rays.points(depths), with_depth=True)
    some = tokens.used.any(1) & ~tokens.used.all(1)
    assert some.any()
    weights = model(sources, rays, depths, with_depth=True).depth_weights
    for ray in torch.nonzero(some)[:, 0]:
        torch.testing.assert_close(weights[ray][tokens.used[ray]].sum(), torch.tensor(1.0))
        assert not weights[ray][~tokens.used[ray]].any()


def move(rays, origins=0.0, turn=1.0):
    return Rays(rays.origins + origins, rays.directions * turn)


@torch.no_grad()
@pytest.mark.parametrize("parity", [False, True])
def test_the_token_knows_the_camera_but_not_the_direction_of_the_ray(make_model, views, parity):
    model = make_model(4, parity=parity)
    for layer in (model.feature_head.output, model.renderer.rgb):
        torch.nn.init.normal_(layer.weight)  # zero before any training
    rays = target_rays(views, model)
    points = rays.points(model.depths(views.near, views.far).expand(len(rays), -1))
    sources = views.encode(model, SOURCES)

    def at_the_same_points(other):
        seen = observe(sources, other, points, parity)
        tokens = model.renderer(seen, other, points)
        return tokens.token, tokens.rgb, model.feature_head(tokens, seen)

    token, rgb, feature = at_the_same_points(rays)
    flipped_token, flipped_rgb, flipped_feature = at_the_same_points(move(rays, turn=-1.0))
    assert torch.equal(token, flipped_token)
    assert torch.equal(feature, flipped_feature)
    assert not torch.allclose(rgb, flipped_rgb)
    moved_token, _, moved_feature = at_the_same_points(move(rays, origins=0.5))
    assert not torch.allclose(token, moved_token)
    assert not torch.allclose(feature, moved_feature)


@pytest.mark.parametrize("parity", [False, True])
def test_rays_that_no_source_view_sees_give_finite_numbers_and_gradients(make_model, views, parity):
    model = make_model(4, parity=parity)
    rays = move(target_rays(views, model), turn=-1.0)  # behind all cameras
    depths = model.depths(views.near, views.far).expand(len(rays), -1)
    rendering = model(views.encode(model, SOURCES), rays, depths, with_depth=True)
    (rendering.rgb.sum() + rendering.feature.sum() + rendering.depth.sum()).backward()
    for found in (rendering.rgb, rendering.feature, rendering.depth):
        assert found.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_every_part_of_the_model_learns(make_model, views):
    model = make_model(4, depth=3)
    rays = target_rays(views, model)
    depths = model.depths(views.near, views.far).expand(len(rays), -1)
    rendering = model(views.encode(model, SOURCES), rays, depths)
    (rendering.rgb.square().sum() + rendering.feature.square().sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert idle == []


def test_dropout_works_in_training_alone(make_model, views):
    model = make_model(4, dropout=0.5)
    torch.nn.init.normal_(model.renderer.rgb.weight)  # zero before any training
    assert torch.equal(render(model, views).rgb, render(model, views).rgb)
    model.train()
    assert not torch.allclose(render(model, views).rgb, render(model, views).rgb)


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 0},
        {"width": "64"},
        {"encoder_blocks": (3, 4)},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"parity": 1},
        {"colour": 3},
        {"width": 6},
        {"width": 16, "heads": 3},
    ],
)
def test_wrong_settings_are_refused(make_config, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        make_config(**wrong)


def test_on_a_cpu_everything_is_computed_in_full_precision(make_model, views):
    model = make_model()
    with pick_autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        mixed = render(model, views)
    assert torch.equal(mixed.rgb, render(model, views).rgb)
