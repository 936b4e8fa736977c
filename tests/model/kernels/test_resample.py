import pytest
import torch
from torch.nn import functional

from gsn.model.encoder import Encoder
from gsn.model.kernels.resample import join, upsample

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")


def channels_last_map(*shape):
    torch.manual_seed(0)
    return torch.randn(shape).to(memory_format=torch.channels_last).requires_grad_()


def reflected(x):
    return functional.pad(x, (1, 1, 1, 1), mode="reflect")


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(("height", "width"), [(2, 3), (3, 2), (6, 7), (24, 5)])
def test_upsampling_and_its_gradient_are_those_of_the_encoder(height, width, parity):
    encoder = Encoder(4, (1, 1, 1), 5, parity)
    x = channels_last_map(2, 6, height, width)
    got, expected = upsample(x, parity), reflected(encoder._upsample(x))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(expected.shape)
    grads = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (got, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("skip_size", [(7, 9), (8, 9), (7, 10), (8, 10)])
def test_joining_and_its_gradients_are_those_of_the_encoder(skip_size, parity):
    encoder = Encoder(4, (1, 1, 1), 5, parity)
    # An upsampled map ends one cell before an even skip; in parity mode one after an odd skip.
    up = [side + side % 2 if parity else side - 1 + side % 2 for side in skip_size]
    x, skip = channels_last_map(2, 6, *up), channels_last_map(2, 3, *skip_size)
    got, expected = join(x, skip, parity), reflected(encoder._join(x, skip))
    assert torch.equal(got, expected)
    weights = torch.randn(expected.shape)
    found, wanted = (torch.autograd.grad((y * weights).sum(), (x, skip)) for y in (got, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
