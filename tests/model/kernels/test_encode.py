import copy

import pytest
import torch
from torch.nn import functional

from gsn.model.encoder import Encoder
from gsn.model.kernels.encode import fast_encode

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Views, height and width of photos; width, blocks and channels of an encoder.
TINY = [
    (2, 24, 28, (4, (1, 2, 1), 5)),
    (1, 33, 21, (8, (1, 1, 2), 3)),
    (3, 17, 40, (5, (1, 1, 1), 8)),
]
PUBLISHED = (64, (3, 4, 6), 32)
SIZES_ON_GPU = [(378, 504), (377, 501), (97, 113)]


@pytest.fixture(autouse=True)
def exact_convolutions(on_the_gpu_if_any):
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def make_encoder(sizes, parity):
    torch.manual_seed(0)
    return Encoder(*sizes, parity)


def photos(n_views, height, width):
    """Coarse and fine noise, mostly coarse as in photographs."""
    draw = torch.Generator(DEVICE).manual_seed(1)
    total = torch.zeros(n_views, 3, height, width)
    for share, cell in ((0.4, 32), (0.3, 8), (0.2, 4), (0.1, 1)):
        noise = torch.rand(n_views, 3, height // cell + 2, width // cell + 2, generator=draw)
        total += share * functional.interpolate(noise, (height, width), mode="bilinear")
    return total


def map_and_gradients(encoder, encode, images):
    """A map, and the gradient of its sum with random weights for every weight that matters.

    Biases in front of an instance norm do not: their gradient is zero but for rounding.
    """
    encoder.zero_grad()
    out = encode(images)
    draw = torch.Generator(DEVICE).manual_seed(2)
    out.backward(torch.randn(out.shape, generator=draw).to(out))
    named = encoder.named_parameters()
    return out.detach(), {n: p.grad for n, p in named if not n.endswith("conv.bias")}


def error(got, expected):
    return float((got.detach().float() - expected.detach()).norm() / expected.detach().norm())


def overall(gradients):
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


def compare_with_float64(encoder, images):
    """Return the errors of the map, of all gradients as one vector, and of the worst gradient.

    In float32 the readable encoder is as far from itself in float64: units near 0 change sides.
    """
    exact = copy.deepcopy(encoder).double()
    expected, expected_grads = map_and_gradients(exact, exact, images.double())
    got, got_grads = map_and_gradients(encoder, lambda x: fast_encode(encoder, x), images)
    assert got.shape == expected.shape
    assert got.dtype == torch.float32
    assert got.is_contiguous(memory_format=torch.channels_last)
    worst = max(error(got_grads[name], grad) for name, grad in expected_grads.items())
    return error(got, expected), error(overall(got_grads), overall(expected_grads)), worst


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(("n_views", "height", "width", "sizes"), TINY)
def test_the_map_and_all_gradients_are_those_of_the_readable_encoder(
    n_views, height, width, sizes, parity
):
    encoder = make_encoder(sizes, parity)
    errors = compare_with_float64(encoder, photos(n_views, height, width))
    assert errors[0] < 1e-4
    assert errors[1] < 1e-4
    assert errors[2] < 5e-4


def test_photos_get_their_gradient():
    encoder = make_encoder((4, (1, 1, 1), 5), parity=False)
    images = photos(1, 24, 28).requires_grad_()
    weights = torch.randn(1, 5, 6, 7)
    found = []
    for encode in (lambda x: fast_encode(encoder, x), encoder):
        found += torch.autograd.grad((encode(images) * weights).sum(), images)
    assert error(*found) < 1e-4


def test_a_map_in_inference_mode_is_the_same():
    encoder = make_encoder((4, (1, 1, 1), 5), parity=False)
    images = photos(1, 24, 28)
    with torch.inference_mode():
        got = fast_encode(encoder, images)
    assert torch.equal(got, fast_encode(encoder, images))


def test_autocast_says_in_which_precision():
    encoder = make_encoder((4, (1, 1, 1), 5), parity=False)
    images = photos(1, 40, 40)
    with torch.autocast(DEVICE, torch.bfloat16):
        got = fast_encode(encoder, images)
    assert got.dtype == torch.bfloat16
    assert error(got, encoder(images)) < 0.1


def test_photos_that_cannot_be_encoded_are_refused():
    encoder = make_encoder((4, (1, 1, 1), 5), parity=False)
    with pytest.raises(ValueError, match="photos of 20×16 px: the encoder needs more than 16 px"):
        fast_encode(encoder, torch.zeros(1, 3, 16, 20))
    with pytest.raises(ValueError, match=r"images: expected shape \(V 3 H W\)"):
        fast_encode(encoder, torch.zeros(1, 4, 20, 20))


@pytest.mark.gpu
@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES_ON_GPU)
def test_of_the_published_size_it_agrees_in_float32(height, width, parity):
    """Millions of units: rounding switches some, and a gradient moves by up to a per cent."""
    encoder = make_encoder(PUBLISHED, parity)
    errors = compare_with_float64(encoder, photos(3, height, width))
    assert errors[0] < 1e-4
    assert errors[1] < 3e-2


@pytest.mark.gpu
def test_in_float16_the_map_is_right_to_a_per_cent():
    encoder = make_encoder(PUBLISHED, False)
    images = photos(3, 378, 504)
    with torch.no_grad():
        expected = encoder(images)
        with torch.autocast("cuda", torch.float16):
            got = fast_encode(encoder, images)
    assert error(got, expected) < 1e-2


@pytest.mark.gpu
@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES_ON_GPU)
def test_in_bfloat16_it_is_nearer_to_float32_than_the_readable_encoder(height, width, parity):
    """Rounding alone moves a map of 34 layers by some per cent, whoever computes it."""
    encoder = make_encoder(PUBLISHED, parity)
    images = photos(3, height, width)

    def in_bfloat16(encode):
        with torch.autocast("cuda", torch.bfloat16):
            return map_and_gradients(encoder, encode, images)

    expected, expected_grads = map_and_gradients(encoder, encoder, images)
    fast, fast_grads = in_bfloat16(lambda x: fast_encode(encoder, x))
    plain, plain_grads = in_bfloat16(encoder)
    assert fast.dtype == torch.bfloat16
    assert error(fast, expected) < min(0.08, error(plain, expected))
    goal = overall(expected_grads)
    assert error(overall(fast_grads), goal) < error(overall(plain_grads), goal)


@pytest.mark.gpu
def test_a_recorded_cuda_graph_follows_its_input():
    encoder = make_encoder(PUBLISHED, False)
    images, others = photos(4, 97, 113).split(2)
    held = images.clone()
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        fast_encode(encoder, held)  # compiles, which a recording must not
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = fast_encode(encoder, held)
        held.copy_(others)
        graph.replay()
        expected = fast_encode(encoder, others)
    assert error(out, expected.float()) < 1e-2
