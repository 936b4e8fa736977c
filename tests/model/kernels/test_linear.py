from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from gsn.model.kernels.common import behind_norm
from gsn.model.kernels.linear import linear, linear_beside

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")
SEED = [4321, 0, 0, 0]


def make_input(shape, n_out, norm=False, bias=False, residual=False):
    """Rows and weights; the rows have a mean and a spread that a layer norm takes away."""
    torch.manual_seed(0)
    n_in = shape[-1]
    streams = {"x": 1.5 * torch.randn(shape) + 0.7}
    weights = {"weight": torch.randn(n_out, n_in) * n_in**-0.5}
    if norm:
        weights |= {"scale": 1 + 0.3 * torch.randn(n_in), "shift": torch.randn(n_in)}
    if bias:
        weights["bias"] = torch.randn(n_out)
    if residual:
        streams["residual"] = torch.randn(*shape[:-1], n_out)
    return streams, weights


def readable(x, weight, bias=None, scale=None, shift=None, residual=None, kept=1.0):
    if scale is not None:
        x = functional.layer_norm(x, x.shape[-1:], scale, shift, 1e-6)
    y = kept * functional.linear(x, weight, bias)
    return y if residual is None else y + residual


def fast(x, weight, bias=None, scale=None, shift=None, residual=None, **dropout):
    if scale is not None:
        weight, bias = behind_norm(SimpleNamespace(weight=scale, bias=shift), weight, bias)
    return linear(x, weight, bias, None if scale is None else 1e-6, residual, **dropout)


CASES = [
    ((37, 16), 16, {}),
    ((3, 13, 24), 40, {"norm": True, "bias": True, "residual": True}),
    ((33, 7), 70, {"bias": True}),
    ((20, 70), 3, {"norm": True}),
    ((21, 70), 100, {"norm": True, "bias": True}),  # gradients in two passes
]


@pytest.mark.parametrize(("shape", "n_out", "parts"), CASES)
def test_it_is_a_linear_layer_with_what_stands_around_it(assert_twins, shape, n_out, parts):
    assert_twins(fast, readable, *make_input(shape, n_out, **parts))


def kept_by_dropout(n_rows, n_out, dropout, seed):
    return linear(torch.ones(n_rows, 16), torch.ones(n_out, 16), dropout=dropout, seed=seed) > 0


def test_dropout_drops_the_same_elements_forward_and_backward_but_no_residual(assert_twins):
    streams, weights = make_input((70, 24), 40, norm=True, bias=True, residual=True)
    seed = torch.tensor(SEED, dtype=torch.int32)
    factor = kept_by_dropout(70, 40, 0.4, seed) / 0.6
    assert_twins(
        lambda **given: fast(**given, dropout=0.4, seed=seed),
        lambda **given: readable(**given, kept=factor),
        *(streams, weights),
    )


def test_rows_that_are_passed_on_gather_their_gradients(assert_twins):
    streams, weights = make_input((37, 24), 16, norm=True)

    def beside(x, weight, scale, shift):
        layer = behind_norm(SimpleNamespace(weight=scale, bias=shift), weight, None)
        return linear_beside(x, *layer, 1e-6)

    assert_twins(beside, lambda **given: (readable(**given), given["x"]), streams, weights)


def test_no_gradient_of_rows_is_made_where_none_is_asked_for(relative_error):
    streams, weights = make_input((37, 16), 16)
    weight = weights["weight"].requires_grad_()
    linear(streams["x"], weight).sum().backward()
    assert relative_error(weight.grad, streams["x"].sum(0).expand(16, 16)) < 1e-4
    assert streams["x"].grad is None


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("shape", "n_out", "parts"),
    [*CASES, ((8, 3001, 64), 192, {"norm": True}), ((9001, 128), 128, CASES[1][2])],
)
def test_in_bfloat16_it_is_near_float32(assert_twins, shape, n_out, parts):
    assert_twins(fast, readable, *make_input(shape, n_out, **parts), torch.bfloat16)


@pytest.mark.gpu
def test_of_rows_in_bfloat16_a_result_in_float32_is_not_rounded(relative_error):
    streams, weights = make_input((5000, 64), 1, bias=True)
    x = streams["x"].bfloat16()
    got = linear(x, **weights, dtype=torch.float32)
    assert got.dtype == torch.float32
    rounded = {"weight": weights["weight"].bfloat16().float(), "bias": weights["bias"]}
    assert relative_error(got, readable(x.float(), **rounded)) < 1e-4
