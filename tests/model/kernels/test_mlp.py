from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from gsn.model.kernels.common import behind_norm
from gsn.model.kernels.mlp import mlp

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")


def make_input(shape, sizes, norm=False, extra=None, residual=False):
    """Rows and weights of a network of `sizes`; `residual` is told by the sizes alone."""
    torch.manual_seed(0)
    n_in, n_hidden, n_out = sizes
    streams = {"x": 1.5 * torch.randn(shape) + 0.7}
    weights = {
        "w1": torch.randn(n_hidden, n_in) * n_in**-0.5,
        "b1": 0.5 * torch.randn(n_hidden),
        "w2": torch.randn(n_out, n_hidden) * n_hidden**-0.5,
        "b2": torch.randn(n_out),
    }
    if norm:
        weights |= {"scale": 1 + 0.3 * torch.randn(n_in), "shift": torch.randn(n_in)}
    if extra is not None:
        streams["extra"] = torch.randn(extra, n_hidden)
    return streams, weights


def readable(residual, kept=(1.0, 1.0), dtype=torch.float32):
    def rounded(x):  # else some units would be on here, off there
        return x + (x.to(dtype).float() - x).detach()

    def run(x, w1, b1, w2, b2, scale=None, shift=None, extra=None):
        u = x
        if scale is not None:  # scale and shift in the layer behind, where the kernel has them
            u = rounded(functional.layer_norm(x, x.shape[-1:], eps=1e-6))
            w1, b1 = rounded(w1 * scale), b1 + w1 @ shift
        hidden = functional.linear(u, w1, b1)
        if extra is not None:
            hidden = hidden + extra.repeat_interleave(len(x) // len(extra), dim=0)
        y = kept[1] * functional.linear(kept[0] * hidden.relu(), w2, b2)
        return x + y if residual else y

    return run


def fast(residual, **dropout):
    def run(x, w1, b1, w2, b2, scale=None, shift=None, extra=None):
        if scale is not None:
            w1, b1 = behind_norm(SimpleNamespace(weight=scale, bias=shift), w1, b1)
        eps = None if scale is None else 1e-6
        return mlp(x, (w1, b1), (w2, b2), eps, extra, residual, **dropout)

    return run


CASES = [
    ((37, 16), (16, 16, 16), {}),
    ((39, 24), (24, 96, 24), {"norm": True, "residual": True}),  # a hidden layer in two parts
    ((37, 40), (40, 200, 40), {"norm": True}),  # in four, by two programs
    ((37, 40), (40, 20, 24), {}),
    ((37, 24), (24, 24, 24), {"extra": 37}),
    ((39, 16), (16, 16, 16), {"extra": 13, "norm": True}),  # one row of it for three of x
]


@pytest.mark.parametrize(("shape", "sizes", "parts"), CASES)
def test_it_is_two_layers_with_what_stands_around_them(assert_twins, shape, sizes, parts):
    residual = parts.get("residual", False)
    assert_twins(fast(residual), readable(residual), *make_input(shape, sizes, **parts))


def test_the_first_weight_may_be_some_columns_of_a_larger_one(assert_twins):
    streams, weights = make_input((37, 24), (30, 16, 16))

    def of_columns(run):
        return lambda w1, **given: run(w1=w1[:, :24], **given)

    weights["w1"] = torch.cat([weights["w1"][:, :24], torch.zeros(16, 6)], dim=1)
    assert_twins(of_columns(fast(False)), of_columns(readable(False)), streams, weights)


def kept_by_dropout(n_rows, width, dropout, seed):
    """Which cells of the hidden layer and of the result dropout keeps, both `width` wide.

    The hidden layer is 1, and each cell of it is shown by several cells of the result, of which at
    least one is kept.
    """
    x, ones, zeros = torch.zeros(n_rows, 16), torch.ones(width), torch.zeros(width)
    first, dropped = (torch.zeros(width, 16), ones), {"dropout": dropout, "seed": seed}
    of_result = mlp(x, first, (torch.zeros(width, width), ones), **dropped) > 0
    of_hidden = torch.zeros_like(of_result)
    for shift in range(8):
        shown = mlp(x, first, (torch.eye(width).roll(shift, dims=1), zeros), **dropped) > 0
        of_hidden |= shown.roll(shift, dims=1)
    return of_hidden, of_result


@pytest.mark.parametrize("sizes", [(24, 24, 24), (70, 70, 70)])
def test_dropout_drops_the_same_elements_forward_and_backward(assert_twins, sizes):
    streams, weights = make_input((37, sizes[0]), sizes, norm=True)
    seed = torch.tensor([4321, 1234, 0, 0], dtype=torch.int32)
    kept = [kept / 0.7 for kept in kept_by_dropout(37, sizes[1], 0.3, seed)]
    assert not torch.equal(*kept)
    dropout = {"dropout": 0.3, "seed": seed}
    assert_twins(fast(True, **dropout), readable(True, kept), streams, weights)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("shape", "sizes", "parts"),
    [
        *CASES,
        ((9001, 64), (64, 256, 64), {"norm": True, "residual": True}),
        ((9001, 128), (128, 512, 128), {"norm": True, "residual": True}),
        ((30000, 40), (40, 64, 64), {}),
        ((192 * 40, 64), (64, 64, 64), {"norm": True, "extra": 40}),
    ],
)
def test_in_bfloat16_it_is_near_float32(assert_twins, shape, sizes, parts):
    residual = parts.get("residual", False)
    streams, weights = make_input(shape, sizes, **parts)
    expected = readable(residual, dtype=torch.bfloat16)
    assert_twins(fast(residual), expected, streams, weights, torch.bfloat16)
