import math

import pytest
import torch

from gsn.model.kernels.positions import WIDTH, encode
from gsn.model.renderer import encode_position

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")


@pytest.mark.parametrize("size", [1.0, 100.0])
def test_it_is_the_readable_encoding_with_a_zero_at_the_end(size):
    torch.manual_seed(0)
    vectors = size * (2 * torch.rand(131, 3) - 1)
    vectors[0] = 0.0
    got = encode(vectors, torch.float32)
    assert got.shape == (131, WIDTH)
    assert not got[:, -1].any()
    torch.testing.assert_close(got[:, :-1], encode_position(vectors), rtol=1e-6, atol=1e-5)


def test_waves_of_a_thousand_units_are_still_those_of_the_angle():
    vectors = torch.tensor([[0.3, -71.9, 1000.1]])
    got = encode(vectors, torch.float32)[0]
    for octave in range(10):
        for axis, x in enumerate(vectors[0].tolist()):
            first = 3 + 6 * octave + axis
            assert float(got[first]) == pytest.approx(math.sin(x * 2**octave), abs=2e-5)
            assert float(got[first + 3]) == pytest.approx(math.cos(x * 2**octave), abs=2e-5)


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.gpu)]
)
def test_it_is_written_in_the_precision_asked_for(dtype, relative_error):
    torch.manual_seed(0)
    vectors = torch.randn(70, 3)
    got = encode(vectors, dtype)
    assert got.dtype == dtype
    assert relative_error(got[:, :-1], encode_position(vectors)) < 1e-2
