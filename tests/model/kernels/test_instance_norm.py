import pytest
import torch
from torch import nn
from torch.nn import functional

from gsn.model.kernels.instance_norm import norm_act_pad

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ACTIVATIONS = {"none": lambda z: z, "relu": torch.relu, "elu": functional.elu}
# Views, channels, height, width; one program a view, two, and several chunks of several tiles.
SHAPES = [(2, 5, 7, 6), (1, 8, 2, 3), (3, 70, 5, 2), (1, 17, 27, 25), (1, 5, 70, 66)]


@pytest.fixture(autouse=True)
def exact_convolutions(on_the_gpu_if_any):
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def make_norm(channels):
    norm = nn.InstanceNorm2d(channels, affine=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def readable(x, norm, activation, pad, residual=None):
    """The same three maps by one PyTorch function after the other."""
    z = norm(x)
    inner = ACTIVATIONS[activation](z if residual is None else z + residual)
    padded = functional.pad(inner, (pad,) * 4, mode="reflect")
    return padded, inner, inner[:, :, ::2, ::2]


def fused(*args):
    seen = norm_act_pad(*args)
    return seen.padded, seen.inner, seen.every_second


def gradients(maps, wanted, inputs):
    """Gradients of a sum of the wanted maps, each element with a weight of its own."""
    draw = torch.Generator(maps[0].device).manual_seed(1)
    weights = [torch.randn(m.shape, generator=draw, device=m.device) for m in maps]
    loss = sum((maps[i].float() * weights[i]).sum() for i in wanted)
    return torch.autograd.grad(loss, inputs)


def error(got, expected):
    return float((got.detach().float() - expected.detach()).norm() / expected.detach().norm())


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_maps_and_gradients_are_those_of_the_separate_functions(
    shape, activation, pad, with_residual
):
    torch.manual_seed(0)
    norm = make_norm(shape[1])
    x = (2 * torch.randn(shape) + 3).requires_grad_()
    residual = torch.randn(shape).requires_grad_() if with_residual else None
    inputs = [x, norm.weight, norm.bias, *([residual] if with_residual else [])]
    got = fused(x, norm, activation, pad, residual)
    expected = readable(x, norm, activation, pad, residual)
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert error(one, other) < 1e-5
    pairs = zip(
        gradients(got, (0, 1, 2), inputs), gradients(expected, (0, 1, 2), inputs), strict=True
    )
    assert max(error(one, other) for one, other in pairs) < 1e-5


def test_several_views_blocks_of_channels_and_chunks_are_kept_apart():
    torch.manual_seed(0)
    norm = make_norm(70)
    x = (torch.randn(2, 70, 33, 32) + torch.arange(70)[:, None, None]).requires_grad_()
    residual = torch.randn(x.shape).requires_grad_()
    inputs = [x, norm.weight, norm.bias, residual]
    got, expected = (step(x, norm, "relu", 1, residual) for step in (fused, readable))
    assert error(got[0], expected[0]) < 1e-5
    pairs = zip(
        gradients(got, (0, 1, 2), inputs), gradients(expected, (0, 1, 2), inputs), strict=True
    )
    assert max(error(*pair) for pair in pairs) < 1e-5


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
@pytest.mark.parametrize("pad", [0, 1])
def test_each_way_to_see_a_map_sends_its_own_gradient_back(wanted, pad):
    torch.manual_seed(0)
    norm = make_norm(5)
    x = torch.randn(2, 5, 5, 4).requires_grad_()
    inputs = [x, norm.weight, norm.bias]
    got = gradients(fused(x, norm, "relu", pad), wanted, inputs)
    expected = gradients(readable(x, norm, "relu", pad), wanted, inputs)
    assert max(error(*pair) for pair in zip(got, expected, strict=True)) < 1e-5


def test_the_three_ways_share_memory():
    seen = norm_act_pad(torch.randn(1, 4, 5, 6), make_norm(4), "relu", 1)
    assert seen.padded.is_contiguous(memory_format=torch.channels_last)
    corner = seen.padded[0, 0, 1, 1]
    assert seen.inner.data_ptr() == seen.every_second.data_ptr() == corner.data_ptr()


def test_a_residual_may_be_the_inner_part_of_a_padded_map():
    torch.manual_seed(0)
    first, second = make_norm(6), make_norm(6)
    x = torch.randn(2, 6, 4, 5).requires_grad_()

    def chain(step):
        skip = step(x, first, "relu", 1)
        return step(2 * x, second, "relu", 1, skip[1])[0] + skip[0]

    got, expected = chain(fused), chain(readable)
    assert error(got, expected) < 1e-5
    inputs = [x, first.weight, first.bias, second.weight, second.bias]
    pairs = zip(gradients([got], (0,), inputs), gradients([expected], (0,), inputs), strict=True)
    assert max(error(*pair) for pair in pairs) < 1e-5


def test_a_mean_far_from_zero_does_not_swallow_the_variance():
    torch.manual_seed(0)
    norm = make_norm(3)
    x = torch.randn(1, 3, 20, 20) + 1e4
    got = norm_act_pad(x, norm, "none", 0).inner
    expected = readable(x.double(), norm.double(), "none", 0)[1]
    # Rounded to float32, the mean is known to 5e-4: a first sum of squares would be off by 10.
    assert error(got, expected) < 2e-3


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_what_is_not_a_number_stays_visible(activation):
    x = torch.randn(2, 3, 4, 4)
    x[1, 2, 3, 3] = torch.nan
    bad = norm_act_pad(x, make_norm(3), activation, 1).padded.isnan().flatten(2)
    assert bad[1, 2].all()
    assert int(bad.sum()) == bad.shape[2]


def test_without_a_graph_the_maps_are_the_same():
    torch.manual_seed(0)
    norm, x = make_norm(5), torch.randn(1, 5, 4, 4)
    with torch.inference_mode():
        got = norm_act_pad(x, norm, "elu", 1).padded
    assert torch.equal(got, norm_act_pad(x, norm, "elu", 1).padded)


def test_what_cannot_be_normalised_or_reflected_is_refused():
    with pytest.raises(ValueError, match=r"x: expected shape \(V 4 H W\), got \(1, 3, 5, 5\)"):
        norm_act_pad(torch.zeros(1, 3, 5, 5), make_norm(4), "none", 0)
    with pytest.raises(ValueError, match=r"residual: expected shape \(1 3 5 5\)"):
        norm_act_pad(torch.zeros(1, 3, 5, 5), make_norm(3), "none", 0, torch.zeros(1, 3, 5, 4))
    with pytest.raises(ValueError, match="affine=True"):
        norm_act_pad(torch.zeros(1, 3, 5, 5), nn.InstanceNorm2d(3), "none", 0)
    with pytest.raises(ValueError, match="1×5 pixels; reflection needs 2"):
        norm_act_pad(torch.zeros(1, 3, 1, 5), make_norm(3), "none", 1)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("activation", "with_residual"), [("relu", True), ("relu", False), ("elu", False)]
)
@pytest.mark.parametrize("shape", [(10, 64, 95, 126), (3, 256, 24, 32), (1, 32, 190, 251)])
def test_on_the_gpu_bfloat16_keeps_its_promise(shape, activation, with_residual, dtype):
    torch.manual_seed(0)
    norm = make_norm(shape[1])
    x = (torch.randn(shape) + 1).to(dtype).requires_grad_()
    residual = torch.randn(shape).to(dtype).requires_grad_()
    extra = [residual] if with_residual else []
    got = fused(x, norm, activation, 1, *extra)
    got_grads = gradients(got, (0, 1), [x, norm.weight, norm.bias, *extra])
    full = [one.detach().float().requires_grad_() for one in (x, *extra)]
    expected = readable(full[0], norm, activation, 1, *full[1:])
    inputs = [full[0], norm.weight, norm.bias, *full[1:]]
    expected_grads = gradients(expected, (0, 1), inputs)
    limits = (1e-2, 2e-2) if dtype == torch.bfloat16 else (1e-4, 1e-4)
    assert error(got[0], expected[0]) < limits[0]
    pairs = zip(got_grads, expected_grads, strict=True)
    assert max(error(*pair) for pair in pairs) < limits[1]
