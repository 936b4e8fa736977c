import math

import pytest
import torch
from torch import nn

from gsn.geometry.rays import Rays
from gsn.model.network import count_parameters
from gsn.model.renderer import (
    ENCODED_SIZE,
    Renderer,
    contract,
    encode_position,
    mean_over_ray,
    pool_views,
)
from gsn.model.sources import Observations

R, S, V, F, C = 3, 5, 4, 7, 16


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def renderer(depth=3, parity=False):
    torch.manual_seed(0)
    net = Renderer(F, C, depth, heads=2, dropout=0.0, parity=parity).eval()
    if not parity:  # as after training: at first these layers are zero
        for layer in (net.rgb, net.blend.surface, net.blend.query):
            nn.init.normal_(layer.weight)
    return net


def inputs(visible=None):
    if visible is None:
        visible = draw(R, S, V, seed=3) > -0.3
    hidden = ~visible[..., None]
    appearance = draw(R, S, V, F, seed=1).masked_fill(hidden, 0)
    seen = Observations(appearance, draw(R, S, V, 4, seed=2), visible, None)
    rays = Rays(draw(R, 3, seed=4), draw(R, 3, seed=5))
    return seen, rays, 3 * draw(R, S, 3, seed=6)


def test_the_published_renderer_has_as_many_weights_as_counted():
    with torch.device("meta"):
        net = Renderer(35, 64, 4, 4, 0.1, parity=True)
    assert count_parameters(net) == 449_027
    parts = {name: count_parameters(part) for name, part in net.named_children()}
    assert parts == {
        "embed": 6_464,
        "view_blocks": 206_016,
        "ray_blocks": 199_168,
        "position_mlps": 24_704,
        "norm": 128,
        "direction_mlp": 12_352,
        "rgb": 195,
    }


def test_positions_are_encoded_in_ten_octaves_without_pi():
    vectors = torch.tensor([[0.3, -1.2, 5.0], [30.0, 0.0, 1e-3]])
    for vector, got in zip(vectors.tolist(), encode_position(vectors), strict=True):
        by_hand = list(vector)
        for octave in range(10):
            by_hand += [math.sin(2**octave * y) for y in vector]
            by_hand += [math.cos(2**octave * y) for y in vector]
        assert len(by_hand) == ENCODED_SIZE == 63
        torch.testing.assert_close(got, torch.tensor(by_hand), atol=2e-3, rtol=0)


def test_the_contraction_keeps_the_unit_ball_and_brings_the_rest_within_two():
    kept = torch.tensor([[0.0, 0, 0], [0.3, -0.4, 0.1], [0, 1, 0]])
    torch.testing.assert_close(contract(kept), kept)
    moved = contract(torch.tensor([[4.0, 0, 0], [0, -3, 4], [1e6, 0, 0]]))
    by_hand = torch.tensor([[2 - 1 / 4, 0, 0], [0, -0.6 * 1.8, 0.8 * 1.8], [2, 0, 0]])
    torch.testing.assert_close(moved, by_hand)
    lengths = contract(torch.linspace(0, 60, 500)[:, None] * torch.tensor([0.6, 0.0, 0.8])).norm(
        dim=-1
    )
    assert (lengths.diff() > 0).all()
    assert lengths.max() < 2


def test_the_maximum_is_over_the_views_that_see_the_sample():
    seen = torch.tensor([[[[-3.0, 5.0], [-1.0, 2.0], [0.0, 9.0]], [[-1.0, -1.0]] * 3]])
    visible = torch.tensor([[[True, True, False], [False, False, False]]])
    assert pool_views(seen, visible, parity=False).tolist() == [[[-1, 5], [0, 0]]]
    # As published, the zeros of views that see nothing win.
    assert pool_views(seen, visible, parity=True).tolist() == [[[0, 9], [-1, -1]]]


def test_the_mean_over_a_ray_is_of_the_samples_that_count():
    values = torch.tensor([[[1.0, 2], [3, 8], [100, 100]], [[4, 4], [5, 5], [6, 0]]])
    used = torch.tensor([[True, True, False], [False, False, True]])
    assert mean_over_ray(values, used).tolist() == [[2, 5], [6, 0]]


def test_a_sample_counts_if_two_views_see_it_and_all_do_if_none_is_seen_by_two():
    counts = torch.tensor([[0, 1, 2, 4], [1, 0, 1, 1], [0, 0, 0, 0]])  # views that see each sample
    used = [[False, False, True, True], [True] * 4, [True] * 4]
    assert renderer().used_samples(counts, 4).tolist() == used
    assert renderer(parity=True).used_samples(counts, 4).all()


def test_with_a_single_source_view_its_samples_count():
    counts = torch.tensor([[1, 0, 1], [0, 0, 0]])
    assert renderer().used_samples(counts, 1).tolist() == [[True, False, True], [True] * 3]


@torch.no_grad()
@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_renderer_follows_the_recipe(depth, parity):
    net, (seen, rays, points) = renderer(depth, parity), inputs()
    counted = torch.ones(R, S, dtype=torch.bool) if parity else seen.visible.sum(-1) >= 2
    observations = net.embed(seen.appearance)
    token = pool_views(observations, seen.visible, parity)
    place = encode_position(points if parity else contract(points))
    for i in range(depth):
        token = net.view_blocks[i](token, observations, seen.ray_difference, seen.visible)
        if i in (0, 2):
            token = net.position_mlps[i // 2](torch.cat([token, place], -1))
        if i == depth - 1:
            attention = net.ray_blocks[i].attention(token, counted)
        token = net.ray_blocks[i](token, counted)
    unit = rays.directions / rays.directions.norm(dim=-1, keepdim=True)
    direction = encode_position(unit)[:, None].repeat(1, S, 1)
    decoded = net.direction_mlp(torch.cat([net.norm(token), direction], -1))
    mean = torch.stack([decoded[r][counted[r]].mean(0) for r in range(R)])
    got = net(seen, rays, points, with_depth=True)
    assert counted.any(-1).all()
    torch.testing.assert_close(got.token, token)
    rgb = mean @ net.rgb.weight.T + net.rgb.bias
    weights = torch.stack([attention[r][counted[r]].mean(0) for r in range(R)])
    if not parity:
        colours = seen.appearance[..., :3]
        blended, weights = net.blend(
            colours, decoded, observations, seen.ray_difference, seen.visible, counted
        )
        rgb = rgb + blended
    torch.testing.assert_close(got.rgb, rgb)
    torch.testing.assert_close(got.depth_weights, weights)
    assert torch.equal(got.used, counted)


@torch.no_grad()
def test_a_new_renderer_shows_the_mean_of_what_the_views_see_along_the_ray():
    torch.manual_seed(0)
    net = Renderer(F, C, 1, heads=2, dropout=0.0, parity=False).eval()
    seen, rays, points = inputs()
    used = net.used_samples(seen.visible.sum(-1), V)
    for ray, got in enumerate(net(seen, rays, points).rgb):
        of_samples = [
            seen.appearance[ray, sample, seen.visible[ray, sample], :3].mean(0)
            for sample in range(S)
            if used[ray, sample]
        ]
        torch.testing.assert_close(got, torch.stack(of_samples).mean(0))


@torch.no_grad()
def test_samples_that_fewer_than_two_views_see_do_not_colour_the_ray():
    visible = torch.arange(V) < torch.tensor([1, 2, 3, 4, 0])[:, None]
    net, (seen, rays, points) = renderer(), inputs(visible.expand(R, S, V).contiguous())
    expected = net(seen, rays, points).rgb
    few = ~net.used_samples(seen.visible.sum(-1), V)
    changed = seen.appearance + 9 * draw(R, S, V, F, seed=8) * few[..., None, None]
    other = Observations(changed, seen.ray_difference, seen.visible, None)
    elsewhere = points + few[..., None]
    torch.testing.assert_close(net(other, rays, elsewhere).rgb, expected)
    assert not torch.allclose(renderer(parity=True)(other, rays, points).rgb, expected)


@pytest.mark.parametrize("parity", [False, True])
def test_where_no_view_sees_anything_colour_and_gradients_are_finite(parity):
    net, (seen, rays, points) = renderer(parity=parity), inputs(torch.zeros(R, S, V).bool())
    tokens = net(seen, rays, points, with_depth=True)
    tokens.rgb.square().sum().backward()
    assert tokens.rgb.isfinite().all()
    assert tokens.depth_weights.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
