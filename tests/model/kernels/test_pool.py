import pytest
import torch

from gsn.model.kernels.pool import pool
from gsn.model.renderer import pool_views

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")


def make_input(n_views, n_rows, channels):
    """Observations, mostly negative, and which views see a sample: none the first and the last."""
    torch.manual_seed(0)
    visible = (torch.rand(n_views, n_rows) < 0.6).byte()
    visible[:, [0, -1]] = 0
    return torch.randn(n_views, n_rows, channels) - 0.5, visible


def readable(visible, parity):
    by_sample = (visible > 0).T

    def run(observations):
        pooled = pool_views(observations.transpose(0, 1)[None], by_sample[None], parity)
        return pooled[0], observations

    return run


def fast(visible, parity):
    def run(observations):
        pooled, _, passed, _ = pool(observations, visible, parity)
        return pooled, passed

    return run


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("shape", [(3, 70, 16), (5, 37, 24), (1, 5, 7)])
def test_the_maximum_is_that_of_the_readable_module(assert_twins, shape, parity):
    observations, visible = make_input(*shape)
    run = (fast(visible, parity), readable(visible, parity))
    assert_twins(*run, {"observations": observations}, {})


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("view", [0, 1, 2])
def test_what_is_not_a_number_is_the_maximum_as_by_torch(parity, view):
    observations, visible = make_input(3, 70, 16)
    observations[view, :, 3] = torch.nan
    pooled = fast(visible, parity)(observations)[0].isnan()
    assert torch.equal(pooled, readable(visible, parity)(observations)[0].isnan())
    assert 0 < pooled.sum() <= 70


def test_it_counts_the_views_that_see_a_sample():
    observations, visible = make_input(3, 70, 16)
    n_seeing = pool(observations, visible, False)[1]
    assert torch.equal(n_seeing, visible.sum(dim=0).float())
    assert set(n_seeing.tolist()) == {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize("parity", [False, True])
def test_of_equal_views_one_gets_the_whole_gradient(parity):
    observations, visible = torch.ones(3, 5, 16, requires_grad=True), torch.ones(3, 5)
    pooled, *_ = pool(observations, visible, parity)
    (gradient,) = torch.autograd.grad(pooled.sum(), observations)
    assert torch.equal(gradient.sum(0), torch.ones(5, 16))
    assert torch.equal(gradient.amax(0), torch.ones(5, 16))


def test_observations_that_are_used_later_only_pass_their_gradient_on():
    observations, visible = make_input(3, 20, 16)
    passed = pool(observations.requires_grad_(), visible, False)[2]
    (gradient,) = torch.autograd.grad((2.0 * passed).sum(), observations)
    assert torch.equal(gradient, torch.full_like(observations, 2.0))


@pytest.mark.parametrize("n_parts", [1, 2])
@pytest.mark.parametrize("uses", [(), ("pooled",), ("passed",), ("pooled", "passed")])
def test_late_parts_are_added_to_the_gradient(uses, n_parts):
    observations, visible = make_input(3, 37, 24)
    observations.requires_grad_()
    pooled, _, passed, late = pool(observations, visible, False)
    made = {"pooled": pooled.sum(), "passed": (2.0 * passed).sum()}
    loss = sum((made[use] for use in uses), start=0.0 * pooled.sum())
    (alone,) = torch.autograd.grad(loss, observations, retain_graph=True)
    parts = [(torch.randn(3, 37), torch.randn(37, 24 + more)) for more in (0, 7)[:n_parts]]
    for scale, row in parts:
        loss = loss + (late.slot(row) * scale).sum()
    added = sum(scale[..., None] * row[:, :24] for scale, row in parts)
    for _ in range(2):
        (together,) = torch.autograd.grad(loss, observations, retain_graph=True)
        torch.testing.assert_close(together, alone + added)


def test_a_late_part_alone_is_a_gradient():
    observations, visible = make_input(2, 5, 16)
    late = pool(observations.requires_grad_(), visible, False)[3]
    scale, row = torch.randn(2, 5), torch.randn(5, 16)
    (gradient,) = torch.autograd.grad((late.slot(row) * scale).sum(), observations)
    torch.testing.assert_close(gradient, scale[..., None] * row)


@pytest.mark.gpu
@pytest.mark.parametrize("parity", [False, True])
def test_in_bfloat16_it_is_near_float32(assert_twins, parity):
    _, visible = make_input(10, 9001, 64)
    # Whole numbers, no two views alike: rounding would make equal ones of others.
    observations = torch.rand(10, 9001, 64).argsort(dim=0) - 5.0
    run = (fast(visible, parity), readable(visible, parity))
    assert_twins(*run, {"observations": observations}, {}, torch.bfloat16)
