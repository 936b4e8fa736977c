from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gsn.model.feature_head import FeatureHead
from gsn.model.network import count_parameters
from gsn.model.renderer import RayTokens, mean_over_ray
from gsn.model.sources import Observations

R, S, V, C, D = 2, 4, 3, 8, 8


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def head(parity=False):
    torch.manual_seed(0)
    net = FeatureHead(C, D, heads=2, dropout=0.0, parity=parity).eval()
    if not parity:  # as after training: at first both layers are zero
        for layer in (net.output, net.blend.surface, net.blend.query):
            nn.init.normal_(layer.weight)
    return net


def carried_by_loop(seen, share):
    """Reference: one ray, one sample, one view at a time."""
    rows = []
    for ray in range(R):
        total = torch.zeros(D)
        for sample in range(S):
            views = [v for v in range(V) if seen.visible[ray, sample, v]]
            if views:
                mean = sum(seen.teacher[ray, sample, v] for v in views) / len(views)
                total += share[ray, sample] * mean
        rows.append(total / total.norm())
    return torch.stack(rows)


def inputs():
    visible = torch.arange(V) < torch.tensor([[3, 2, 1, 0], [2, 2, 3, 1]])[..., None]
    teacher = draw(R, S, V, D, seed=1) * visible[..., None]
    seen = Observations(torch.zeros(R, S, V, 5), draw(R, S, V, 4, seed=2), visible, teacher)
    used = visible.sum(-1) >= 2
    return RayTokens(torch.zeros(R, 3), draw(R, S, C), draw(R, S, V, C, seed=3), used, None), seen


def test_the_published_head_has_as_many_weights_as_counted():
    with torch.device("meta"):
        net = FeatureHead(64, 64, heads=4, dropout=0.1, parity=True)
    parts = {name: count_parameters(part) for name, part in net.named_children()}
    assert parts == {"view_block": 204_384, "ray_block": 197_888, "norm": 256, "output": 8_256}
    assert count_parameters(net) == 410_784


@torch.no_grad()
@pytest.mark.parametrize("parity", [False, True])
def test_the_head_follows_the_recipe(parity):
    net, (rendered, seen) = head(parity), inputs()
    kept = seen.visible[..., None] | torch.tensor(parity)
    largest = torch.where(kept, seen.teacher, -torch.inf).amax(2)
    largest = torch.where(largest.isinf(), 0, largest)
    token = torch.cat([rendered.token, largest], -1)
    observations = torch.cat([rendered.observations, seen.teacher], -1)
    token = net.view_block(token, observations, seen.ray_difference, seen.visible)
    token = net.norm(net.ray_block(token, rendered.used))
    expected = net.output(mean_over_ray(token, rendered.used))
    if not parity:
        blended, _ = net.blend(
            seen.teacher, token, observations, seen.ray_difference, seen.visible, rendered.used
        )
        expected = expected + functional.normalize(blended, dim=-1)
    got = net(rendered, seen)
    assert got.shape == (R, D)
    torch.testing.assert_close(got, expected)


@torch.no_grad()
def test_a_new_head_gives_the_mean_of_what_the_views_say_along_the_ray():
    rendered, seen = inputs()
    net = FeatureHead(C, D, heads=2, dropout=0.0, parity=False).eval()
    share = rendered.used / rendered.used.sum(1, keepdim=True)
    torch.testing.assert_close(net(rendered, seen), carried_by_loop(seen, share))


@torch.no_grad()
def test_teacher_features_of_samples_that_do_not_count_change_nothing():
    net, (rendered, seen) = head(), inputs()
    noise = 9 * draw(R, S, V, D, seed=7) * ~rendered.used[..., None, None]
    changed = net(rendered, replace(seen, teacher=seen.teacher + noise))
    torch.testing.assert_close(changed, net(rendered, seen))


def test_gradients_flow_into_the_tokens_of_the_renderer():
    net, (rendered, seen) = head(), inputs()
    token, observations = (
        x.clone().requires_grad_() for x in (rendered.token, rendered.observations)
    )
    net(replace(rendered, token=token, observations=observations), seen).sum().backward()
    assert token.grad.any()
    assert observations.grad.any()


def test_channels_that_do_not_divide_by_the_heads_are_refused():
    with pytest.raises(ValueError, match=r"8 of the token and 5 teacher channels .* by 2 heads"):
        FeatureHead(8, 5, heads=2, dropout=0.0, parity=False)


def test_without_teacher_maps_there_is_nothing_to_render():
    rendered, seen = inputs()
    with pytest.raises(ValueError, match="needs the teacher's maps of the source views"):
        head()(rendered, replace(seen, teacher=None))
