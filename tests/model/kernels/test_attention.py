import pytest
import torch

from gsn.model.kernels.attention import attend
from gsn.model.transformers import RayTransformer

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")
# Rays, samples, heads, width of a head.
SHAPES = [(3, 6, 2, 8), (2, 48, 2, 16), (1, 200, 1, 24), (1, 192, 2, 32), (2, 64, 3, 5)]


def make_input(shape, masked, seed=0):
    """Queries, keys and values of rays, and samples that may be used, one a ray at least."""
    n_rays, n_samples, heads, width = shape
    torch.manual_seed(seed)
    projected = 1.5 * torch.randn(n_rays * n_samples, 3 * heads * width)
    used = None
    if masked:
        used = torch.rand(n_rays, n_samples) < 0.6
        used[0] &= n_rays == 1  # of several rays, one has a single used sample
        used[:, n_samples // 2] = True
    return projected.requires_grad_(), used


def readable(projected, used, heads, n_samples, factor=1.0):
    """softmax(q · k / √width) · v, one step after the other; weights times a factor."""
    parts = projected.view(-1, n_samples, 3, heads, projected.shape[1] // (3 * heads))
    query, key, value = parts.permute(2, 0, 3, 1, 4)
    score = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    if used is not None:
        score = score.masked_fill(~used[:, None, None], float("-inf"))
    weight = score.softmax(dim=-1) * factor
    return (weight @ value).transpose(1, 2).reshape(projected.shape[0], -1)


def error(got, expected):
    got, expected = got.detach().float(), expected.detach().float()
    return float((got - expected).norm() / expected.norm())


def errors(attention, expected, projected, inputs=None):
    """Relative errors of the result and of the gradient of a sum, each cell with its own weight."""
    given = projected if inputs is None else inputs
    weight = torch.randn_like(expected)
    (got_gradient,) = torch.autograd.grad((attention.float() * weight).sum(), given)
    (gradient,) = torch.autograd.grad((expected * weight).sum(), projected)
    parts = zip(got_gradient.chunk(3, dim=1), gradient.chunk(3, dim=1), strict=True)
    return error(attention, expected), max(error(one, other) for one, other in parts)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_result_and_gradients_are_those_of_softmax_attention(shape, masked):
    projected, used = make_input(shape, masked)
    _, n_samples, heads, _ = shape
    got = attend(projected, used, heads, n_samples)
    expected = readable(projected, used, heads, n_samples)
    assert max(errors(got, expected, projected)) < 1e-4


def test_a_ray_that_may_look_at_nothing_gets_zeros_and_spoils_no_other():
    projected, used = make_input((2, 48, 2, 16), masked=True)
    used[0] = False
    got = attend(projected, used, 2, 48)
    (gradient,) = torch.autograd.grad(got.square().sum(), projected)
    assert not got[:48].any()
    assert not gradient[:48].any()
    expected = readable(projected[48:], used[1:], 2, 48)
    assert error(got[48:], expected) < 1e-4
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), projected)
    assert error(gradient[48:], expected_gradient[48:]) < 1e-4


@pytest.mark.parametrize("apart", [-7.0, 7.0])
def test_samples_that_may_not_be_looked_at_do_not_matter_however_far_their_scores(apart):
    projected, used = make_input((2, 48, 2, 16), masked=True)
    parts = projected.detach().view(2, 48, 3, 32)
    parts[:, :, 0] += 7.0
    parts[:, :, 1] += torch.where(used, apart, -apart)[..., None]  # scores of about 196 and -196
    got = attend(projected, used, 2, 48)
    expected = readable(projected, used, 2, 48)
    assert max(errors(got, expected, projected)) < 1e-4


def test_it_is_the_attention_of_the_readable_block():
    torch.manual_seed(0)
    block = RayTransformer(32, n_heads=4, dropout=0.0)
    token, used = torch.randn(3, 20, 32), torch.rand(3, 20) < 0.7
    used[:, 3] = True
    layers = (block.query, block.key, block.value)
    x = block.attention_norm(token).flatten(0, 1)
    projected = torch.cat([layer(x) for layer in layers], dim=1)
    got = block.add_to(token, attend(projected, used, 4, 20).view_as(token))
    assert error(got, block(token, used)) < 1e-4


def weights_kept(shape, dropout, seed, dtype=torch.float32):
    """Which weights dropout keeps, found by values that tell samples apart, a width at a time."""
    n_rays, n_samples, heads, width = shape
    kept = torch.empty(n_rays, heads, n_samples, n_samples)
    for start in range(0, n_samples, width):
        projected = torch.zeros(n_rays, n_samples, 3, heads, width, dtype=dtype)
        there = min(width, n_samples - start)
        projected[:, start : start + there, 2, :, :there] = torch.eye(there).to(dtype)[:, None]
        merged = attend(
            projected.view(-1, 3 * heads * width), None, heads, n_samples, dropout, seed
        )
        merged = merged.view(n_rays, n_samples, heads, width).transpose(1, 2)
        kept[..., start : start + there] = merged[..., :there] > 0
    return kept


@pytest.mark.parametrize("shape", [(2, 48, 2, 16), (1, 70, 1, 24)])
def test_dropout_leaves_out_weights_and_their_gradients_and_enlarges_the_others(shape):
    projected, used = make_input(shape, masked=True)
    _, n_samples, heads, _ = shape
    seed = torch.tensor([12345, 0, 0, 0], dtype=torch.int32)
    kept = weights_kept(shape, 0.3, seed)
    got = attend(projected, used, heads, n_samples, 0.3, seed)
    expected = readable(projected, used, heads, n_samples, kept / 0.7)
    assert max(errors(got, expected, projected)) < 1e-4


def test_dropout_draws_as_often_as_asked_independently_and_anew_for_another_seed():
    shape, dropout = (4, 96, 2, 64), 0.2
    seeds = torch.tensor([[7, 0, 0, 0], [8, 0, 0, 0]], dtype=torch.int32)
    kept, other = (weights_kept(shape, dropout, seed).double() for seed in seeds)
    spread = (dropout * (1 - dropout)) ** 0.5
    draws = (kept - 1 + dropout) / spread
    assert abs(draws.mean()) < 4 * kept.numel() ** -0.5
    pairs = {
        "queries": (draws[:, :, 1:], draws[:, :, :-1]),
        "keys": (draws[..., 1:], draws[..., :-1]),
        "tiles of keys": (draws[..., 32:], draws[..., :-32]),
        "tiles of queries": (draws[:, :, 32:], draws[:, :, :-32]),
        "heads": (draws[:, 0], draws[:, 1]),
        "rays": (draws[1:], draws[:-1]),
        "seeds": (draws, (other - 1 + dropout) / spread),
    }
    for name, (one, another) in pairs.items():
        assert abs((one * another).mean()) < 4 * one.numel() ** -0.5, name
    # As many are left out of the weights of a query as of independent draws: same variance.
    assert 0.8 < draws.sum(dim=-1).var() / shape[1] < 1.2


@pytest.mark.gpu
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (40, 192, 4, 16), (2, 300, 2, 16)])
def test_in_bfloat16_result_and_gradients_are_near_those_in_float32(shape, masked):
    projected, used = make_input(shape, masked)
    _, n_samples, heads, _ = shape
    rounded = projected.detach().bfloat16().requires_grad_()
    got = attend(rounded, used, heads, n_samples)
    expected = readable(projected, used, heads, n_samples)
    of_result, of_gradient = errors(got, expected, projected, rounded)
    assert got.dtype == torch.bfloat16
    assert of_result < 1e-2
    assert of_gradient < 2e-2


@pytest.mark.gpu
def test_in_bfloat16_dropout_is_the_same_forward_and_backward():
    shape, seed = (8, 192, 4, 16), torch.tensor([12345, 0, 0, 0], dtype=torch.int32)
    projected, used = make_input(shape, masked=True)
    rounded = projected.detach().bfloat16().requires_grad_()
    kept = weights_kept(shape, 0.1, seed, torch.bfloat16)
    got = attend(rounded, used, 4, 192, 0.1, seed)
    expected = readable(projected, used, 4, 192, kept / 0.9)
    of_result, of_gradient = errors(got, expected, projected, rounded)
    assert of_result < 1e-2
    assert of_gradient < 2e-2
