import pytest
import torch

from gsn.model.kernels.pool import pool
from gsn.model.renderer import pool_views

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")


def make_input(n_views, n_rows, channels):
    """Observations, mostly negative, and which views see a sample: none the first and the last."""
    torch.manual_seed(0)
    colour = torch.rand(n_views, n_rows, 4)
    colour[..., 3] = torch.rand(n_views, n_rows) < 0.6
    colour[:, [0, -1], 3] = 0.0
    return torch.randn(n_views, n_rows, channels) - 0.5, colour


def readable(colour, parity):
    visible = (colour[..., 3] > 0).T

    def run(observations):
        by_sample = observations.transpose(0, 1)
        return pool_views(by_sample[None], visible[None], parity)[0], observations

    return run


def fast(colour, parity):
    def run(observations):
        pooled, _, passed = pool(observations, colour, parity)
        return pooled, passed

    return run


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("shape", [(3, 70, 16), (5, 37, 24), (1, 5, 7)])
def test_the_maximum_is_that_of_the_readable_module(assert_twins, shape, parity):
    observations, colour = make_input(*shape)
    run = (fast(colour, parity), readable(colour, parity))
    assert_twins(*run, {"observations": observations}, {})


def test_it_counts_the_views_that_see_a_sample():
    observations, colour = make_input(3, 70, 16)
    n_seeing = pool(observations, colour, False)[1]
    assert torch.equal(n_seeing, colour[..., 3].sum(dim=0))
    assert set(n_seeing.tolist()) == {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize("parity", [False, True])
def test_of_equal_views_one_gets_the_whole_gradient(parity):
    observations, colour = torch.ones(3, 5, 16, requires_grad=True), torch.ones(3, 5, 4)
    pooled, _, _ = pool(observations, colour, parity)
    (gradient,) = torch.autograd.grad(pooled.sum(), observations)
    assert torch.equal(gradient.sum(0), torch.ones(5, 16))
    assert torch.equal(gradient.amax(0), torch.ones(5, 16))


def test_observations_that_are_used_later_only_pass_their_gradient_on():
    observations, colour = make_input(3, 20, 16)
    passed = pool(observations.requires_grad_(), colour, False)[2]
    (gradient,) = torch.autograd.grad((2.0 * passed).sum(), observations)
    assert torch.equal(gradient, torch.full_like(observations, 2.0))


@pytest.mark.gpu
@pytest.mark.parametrize("parity", [False, True])
def test_in_bfloat16_it_is_near_float32(assert_twins, parity):
    _, colour = make_input(10, 9001, 64)
    # Whole numbers, no two views alike: rounding would make equal ones of others.
    observations = torch.rand(10, 9001, 64).argsort(dim=0) - 5.0
    run = (fast(colour, parity), readable(colour, parity))
    assert_twins(*run, {"observations": observations}, {}, torch.bfloat16)
