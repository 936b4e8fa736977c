import pytest
import torch
from torch.nn import functional

from gsn.model.kernels.photos import centred_photos

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")


def by_functions(images, border, channels):
    centred = functional.pad(images - 0.5, (border,) * 4, mode="reflect")
    odd = [side % 2 for side in images.shape[2:]]
    full = functional.pad(centred, (0, odd[1], 0, odd[0], 0, channels - 3))
    return functional.pixel_unshuffle(full, 2)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [3, 4, 8])
@pytest.mark.parametrize("size", [(21, 27), (20, 27), (21, 26), (20, 26)])
def test_photos_are_centred_and_mirrored_at_the_border(size, channels, memory):
    torch.manual_seed(0)
    images = torch.rand(2, 3, *size).to(memory_format=memory)
    got = centred_photos(images, 3, channels, torch.float32)
    assert torch.equal(got, by_functions(images, 3, channels))
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_they_are_rounded_after_centring():
    images = torch.full((1, 3, 6, 6), 0.5 + 2**-12)
    assert (centred_photos(images, 1, 4, torch.bfloat16)[:, :12] == 2**-12).all()


def test_gradients_of_the_border_go_to_the_pixels_that_it_repeats():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 6, 5).requires_grad_()
    weights = torch.randn(2, 16, 6, 6)
    found = [
        torch.autograd.grad((padded * weights).sum(), images)[0]
        for padded in (centred_photos(images, 3, 4, torch.float32), by_functions(images, 3, 4))
    ]
    torch.testing.assert_close(*found)
