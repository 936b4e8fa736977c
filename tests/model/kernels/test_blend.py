import gc
import weakref

import pytest
import torch
from torch.nn import functional

from gsn.model.kernels.blend import blend
from gsn.model.kernels.pool import pool

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")
# Views, samples, channels of observations, of teacher features.
SHAPES = [(3, 70, 16, 0), (4, 37, 24, 0), (3, 37, 24, 9), (2, 5, 16, 16)]


def make_input(shape):
    """Observations, queries and what goes with them; no view sees the first and last sample."""
    n_views, n_rows, width, channels = shape
    torch.manual_seed(0)
    seen = torch.rand(n_views, n_rows) < 0.7
    seen[:, [0, -1]] = False
    colour = torch.rand(n_views, n_rows, 4) * seen[..., None]
    difference = torch.randn(n_views, n_rows, 4)
    data = {"colour": colour, "visible": seen.byte(), "difference": difference}
    data["teacher"] = None
    if channels:
        unit = functional.normalize(torch.randn(n_views, n_rows, channels), dim=-1)
        data["teacher"] = unit * seen[..., None]
    query = 0.5 * torch.randn(n_rows, width + channels + 4)
    return {"observations": torch.randn(n_views, n_rows, width), "query": query}, data


def readable(data):
    """Weigh the views by a softmax over those that see the sample."""
    parts = [data[name] for name in ("teacher", "difference") if data[name] is not None]
    values = data["colour"][..., :3] if data["teacher"] is None else data["teacher"]

    def blended(observations, query):
        score = (torch.cat([observations, *parts], dim=-1) * query).sum(-1)
        weight = score.masked_fill(data["visible"] == 0, -1e9).softmax(dim=0)
        return (weight[..., None] * values).sum(0)

    def run(observations, query):
        return blended(observations, query), blended(observations, -query), observations

    return run


def fast(data):
    """Blend twice, as colours and features are: gradients of observations meet in `pool`."""

    def run(observations, query):
        dtype, teacher = observations.dtype, data["teacher"]
        *_, observations, late = pool(observations, data["visible"], False)
        teacher = None if teacher is None else teacher.to(dtype)
        given = (observations, teacher, data["difference"].to(dtype))
        given += (data["colour"], data["visible"])
        return blend(*given, query, late), blend(*given, -query, late), observations

    return run


@pytest.mark.parametrize("shape", SHAPES)
def test_views_are_averaged_by_how_well_they_fit(assert_twins, shape):
    streams, data = make_input(shape)
    assert_twins(fast(data), readable(data), streams, {})


@pytest.mark.parametrize("channels", [0, 9])
def test_of_a_sample_that_no_view_sees_nothing_is_blended(channels):
    streams, data = make_input((3, 20, 16, channels))
    blended, *_ = fast(data)(**streams)
    assert not blended[[0, -1]].any()
    assert blended[1:-1].any(dim=1).all()


@pytest.mark.parametrize("far", [-300.0, 300.0])
def test_views_that_do_not_see_a_sample_do_not_matter_however_far_their_scores(assert_twins, far):
    streams, data = make_input((3, 20, 16, 0))
    streams["query"][:, 0] = 1.0
    streams["observations"][..., 0] = torch.where(data["visible"] > 0, 0.0, far)
    assert_twins(fast(data), readable(data), streams, {})


def blended_sum(streams, data):
    """Blend by queries that come from what was pooled, as they do; return the sum and a query."""
    pooled, _, observations, late = pool(streams["observations"], data["visible"], False)
    query = streams["query"] + 0.1 * pooled.mean(dim=1, keepdim=True)
    given = (observations, None, data["difference"], data["colour"], data["visible"])
    return blend(*given, query, late).sum(), query


@pytest.mark.parametrize("only", ["observations", "query"])
def test_a_backward_pass_to_one_input_leaves_nothing_for_the_next(only):
    streams, data = make_input((3, 20, 16, 0))
    given = [streams[name].requires_grad_() for name in ("observations", "query")]
    expected = torch.autograd.grad(blended_sum(streams, data)[0], given)
    total, _ = blended_sum(streams, data)
    torch.autograd.grad(total, streams[only], retain_graph=True)
    for got, gradient in zip(torch.autograd.grad(total, given), expected, strict=True):
        assert torch.equal(got, gradient)


def test_inputs_without_gradient_need_none():
    streams, data = make_input((3, 20, 16, 0))
    streams["query"].requires_grad_()
    blended_sum(streams, data)[0].backward()
    assert streams["query"].grad.any()


def test_a_backward_pass_that_fails_half_way_frees_its_memory():
    streams, data = make_input((3, 20, 16, 0))
    streams["observations"].requires_grad_()
    total, query = blended_sum(streams, data)

    def fail(_gradient):
        raise RuntimeError("out of memory")

    query.register_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        total.backward()
    alive = weakref.ref(query)
    del total, query
    gc.collect()
    assert alive() is None


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [*SHAPES, (10, 9001, 64, 0), (10, 3001, 64, 64)])
def test_in_bfloat16_it_is_near_float32(assert_twins, shape):
    streams, data = make_input(shape)
    rounded = {name: x if x is None else x.bfloat16().float() for name, x in data.items()}
    rounded |= {name: data[name] for name in ("colour", "visible")}
    assert_twins(fast(data), readable(rounded), streams, {}, torch.bfloat16)
