import pytest
import torch
from torch import nn

from gsn.model.kernels.weights import cast_filters

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")
# One program each, several blocks of channel pairs, several blocks of taps.
SHAPES = [(4, 3, 3, 3), (20, 17, 3, 3), (5, 3, 7, 7), (6, 8, 1, 1)]
READ = [4, 17, 8, 8]


def make_weights():
    torch.manual_seed(0)
    return [torch.randn(shape).requires_grad_() for shape in SHAPES]


def widened(weight, channels):
    return nn.functional.pad(weight, (0, 0, 0, 0, 0, channels - weight.shape[1]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_weights_are_rounded_widened_by_zeros_and_channels_last(dtype):
    weights = make_weights()
    for got, weight, channels in zip(
        cast_filters(weights, READ, dtype), weights, READ, strict=True
    ):
        # Triton's interpreter cuts off where a GPU rounds to the nearest.
        expected = widened(weight, channels).to(dtype)
        torch.testing.assert_close(got, expected, rtol=torch.finfo(dtype).eps, atol=0)
        assert got.is_contiguous(memory_format=torch.channels_last)
        assert got.data_ptr() % 16 == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_their_gradients_come_back_in_place_and_precision(dtype):
    weights = make_weights()
    cast = cast_filters(weights, READ, dtype)
    sent = [torch.randn(one.shape).to(dtype) for one in cast]
    torch.autograd.backward(cast, sent)
    for weight, grad in zip(weights, sent, strict=True):
        assert torch.equal(weight.grad, grad[:, : weight.shape[1]].float())
        assert weight.grad.is_contiguous()


def test_a_weight_without_gradient_of_its_own_gets_zeros():
    weights = make_weights()
    cast = cast_filters(weights, READ, torch.bfloat16)
    cast[1].sum().backward()
    assert [bool(weight.grad.any()) for weight in weights] == [False, True, False, False]


def test_what_cannot_be_a_filter_of_the_map_is_refused():
    with pytest.raises(ValueError, match=r"weight: expected shape \(O C h w\), got \(4, 3\)"):
        cast_filters([torch.zeros(4, 3)], [3], torch.float32)
    with pytest.raises(ValueError, match="weight: 3 channels for a map of 2"):
        cast_filters([torch.zeros(4, 3, 1, 1)], [2], torch.float32)
