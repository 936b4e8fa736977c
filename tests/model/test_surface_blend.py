import pytest
import torch
from torch import nn

from gsn.model.surface_blend import SurfaceBlend

R, S, V, C, F, D = 2, 4, 3, 5, 6, 7


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def blend():
    torch.manual_seed(0)
    net = SurfaceBlend(C, F)
    for layer in (net.surface, net.query):  # as after training: at first they are zero
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    return net


@pytest.fixture
def seen():
    visible = torch.arange(V) < torch.tensor([[3, 2, 1, 0], [2, 2, 3, 1]])[..., None]
    return {
        "values": draw(R, S, V, D, seed=1) * visible[..., None],
        "token": draw(R, S, C, seed=2),
        "observations": draw(R, S, V, F, seed=3),
        "ray_difference": draw(R, S, V, 4, seed=4),
        "visible": visible,
        "used": visible.sum(-1) >= 2,
    }


def blended_by_loop(net, seen):
    """Reference: one ray, one sample, one view at a time."""
    shares, rows = torch.zeros(R, S), torch.zeros(R, D)
    for ray in range(R):
        samples = [s for s in range(S) if seen["used"][ray, s]]
        scores = torch.stack([net.surface(seen["token"][ray, s])[0] for s in samples])
        shares[ray, samples] = scores.exp() / scores.exp().sum()
        for sample in samples:
            views = [v for v in range(V) if seen["visible"][ray, sample, v]]
            query = net.query(seen["token"][ray, sample])
            place = ray, sample, views
            known = torch.cat([seen["observations"][place], seen["ray_difference"][place]], 1)
            weights = (net.key(known) @ query).exp()
            of_views = weights[:, None] / weights.sum() * seen["values"][place]
            rows[ray] += shares[ray, sample] * of_views.sum(0)
    return rows, shares


@torch.no_grad()
def test_values_are_averaged_over_views_and_then_over_samples(blend, seen):
    rows, shares = blended_by_loop(blend, seen)
    got_rows, got_shares = blend(**seen)
    torch.testing.assert_close(got_rows, rows)
    torch.testing.assert_close(got_shares, shares)


@torch.no_grad()
def test_a_new_blend_weighs_all_samples_and_all_views_that_see_them_the_same(seen):
    rows, shares = SurfaceBlend(C, F)(**seen)
    for ray in range(R):
        samples = [s for s in range(S) if seen["used"][ray, s]]
        means = [seen["values"][ray, s][seen["visible"][ray, s]].mean(0) for s in samples]
        torch.testing.assert_close(rows[ray], torch.stack(means).mean(0))
        torch.testing.assert_close(
            shares[ray, samples], torch.full((len(samples),), 1 / len(samples))
        )


def test_a_blend_is_within_the_range_of_its_values(blend, seen):
    values = torch.rand(R, S, V, D) * seen["visible"][..., None]
    rows, _ = blend(**(seen | {"values": values}))
    assert rows.min() >= 0
    assert rows.max() <= 1


def test_where_no_view_sees_a_ray_the_blend_is_zero_and_gradients_are_finite(blend, seen):
    blind = torch.zeros(R, S, V).bool()
    nothing = {"visible": blind, "values": seen["values"] * 0, "used": torch.ones(R, S).bool()}
    rows, shares = blend(**(seen | nothing))
    (rows.sum() + shares[:, 0].sum()).backward()
    assert not rows.any()
    assert all(p.grad.isfinite().all() for p in blend.parameters() if p.grad is not None)


def test_what_a_view_shows_where_it_does_not_see_changes_nothing(blend, seen):
    noise = 9 * draw(R, S, V, F, seed=8) * ~seen["visible"][..., None]
    changed = blend(**(seen | {"observations": seen["observations"] + noise}))
    torch.testing.assert_close(changed[0], blend(**seen)[0])
