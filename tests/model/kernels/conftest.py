"""Comparing a kernel with what it is the twin of, in results and in gradients."""

import pytest
import torch

# Of results and of gradients.
TOLERANCES = {torch.float32: (1e-4, 1e-4), torch.bfloat16: (1e-2, 2e-2)}


@pytest.fixture(autouse=True)
def _memory_that_nobody_wrote_is_nan():
    """What a kernel leaves out is then seen, and what it reads too much.

    On a GPU it stays as it is: the mode that does it chooses other convolutions there.
    """
    if torch.cuda.is_available():
        yield
        return
    before = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = before


@pytest.fixture
def on_the_gpu_if_any():
    """Kernels are compiled for it; elsewhere they are interpreted."""
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        yield


@pytest.fixture(scope="session")
def relative_error():
    def error(got, expected):
        got, expected = got.detach().float(), expected.detach().float()
        return float((got - expected).norm() / expected.norm())

    return error


@pytest.fixture(scope="session")
def assert_twins(relative_error):
    """Return what runs both on the same numbers; every gradient must be large enough to tell.

    `streams` are given in a precision, `weights` in float32. Both are rounded for the readable one
    too: of a ReLU of other numbers some units would be on here and off there.
    """

    def outcome(function, streams, weights):
        given = {name: x.detach().clone().requires_grad_() for name, x in streams.items()}
        given |= {name: x.detach().clone().requires_grad_() for name, x in weights.items()}
        results = function(**given)
        results = results if isinstance(results, tuple) else (results,)
        torch.manual_seed(1)
        loss = sum((result.float() * torch.randn(result.shape)).sum() for result in results)
        return results, dict(zip(given, torch.autograd.grad(loss, given.values()), strict=True))

    def check(fast, readable, streams, weights, dtype=torch.float32):
        of_result, of_gradient = TOLERANCES[dtype]
        rounded = {name: x.to(dtype) for name, x in streams.items()}
        weights = {name: x.to(dtype).float() for name, x in weights.items()}
        results, gradients = outcome(fast, rounded, weights)
        exact = {name: x.float() for name, x in rounded.items()}
        expected_results, expected_gradients = outcome(readable, exact, weights)
        for got, expected in zip(results, expected_results, strict=True):
            assert got.shape == expected.shape
            assert relative_error(got, expected) < of_result
        for name, expected in expected_gradients.items():
            assert expected.norm() > 1e-2, name
            assert relative_error(gradients[name], expected) < of_gradient, name

    return check
