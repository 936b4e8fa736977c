import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gsn.model.kernels.blocks import Observed, view_block
from gsn.model.kernels.branch import Branch
from gsn.model.kernels.common import Seeds
from gsn.model.kernels.merge import MergeWeights, merge
from gsn.model.transformers import ViewTransformer

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")
# Views, samples, channels of observations and teacher features, of inner layer and position.
SHAPES = [(3, 21, 16, 0, 2, 3), (5, 18, 24, 0, 3, 4), (2, 17, 16, 9, 3, 16)]


@dataclass
class Given:
    """What has no gradient; numbers that bfloat16 holds."""

    teacher: Tensor | None
    difference: Tensor
    seen: Tensor  # bool; of the first sample and the last one by no view


def make_input(shape, seed=0):
    """Return streams, weights, and what has no gradient."""
    n_views, n_rows, width, channels, inner, place = shape
    torch.manual_seed(seed)
    streams = {
        "observations": 1.5 * torch.randn(n_views, n_rows, width),
        "query": torch.randn(n_rows, inner),
    }
    teacher = functional.normalize(torch.randn(n_views, n_rows, channels), dim=-1)
    teacher = teacher.bfloat16().float() if channels else None
    difference = torch.randn(n_views, n_rows, 4).bfloat16().float()
    total = width + channels
    weights = {
        "position": torch.randn(place, 5),
        "value": torch.randn(total, width) * width**-0.5,
        "score": torch.randn(inner, width) * width**-0.5,
        "place_value": torch.randn(total, place) * place**-0.5,
        "place_score": torch.randn(inner, place) * place**-0.5,
        "weight": torch.randn(total, inner),
    }
    if channels:
        weights |= {"teacher_value": torch.randn(total, channels)}
        weights |= {"teacher_score": torch.randn(inner, channels)}
    seen = torch.rand(n_views, n_rows) < 0.7
    seen[:, [0, -1]] = False
    return streams, weights, Given(teacher, difference, seen)


def readable(given, factor=1.0, dtype=torch.float32):
    """Weigh the views by a softmax of base 2 for each channel, over those that see the sample."""
    teacher = given.teacher

    def run(observations, query, position, value, score, weight, place_value, place_score, **more):
        passed = observations
        if teacher is not None:
            observations = torch.cat([observations, teacher], dim=-1)
            value = torch.cat([value, more["teacher_value"]], dim=1)
            score = torch.cat([score, more["teacher_score"]], dim=1)
        place = (given.difference @ position[:, :4].T + position[:, 4]).relu()
        place = place + (place.to(dtype).float() - place).detach()
        inner = (observations @ score.T + place @ place_score.T - query).relu()
        logits = math.log(2) * (inner @ weight.T)
        logits = logits.masked_fill(~given.seen[..., None], -1e9)
        of_view = observations @ value.T + place @ place_value.T
        return (factor * logits.softmax(dim=0) * of_view).sum(0), passed

    return run


def fast(given, **dropout):
    def run(observations, query, teacher_value=None, teacher_score=None, **weights):
        seen, dtype = given.seen, observations.dtype
        n_seeing = seen.sum(0).float()
        products = MergeWeights(teacher_value=teacher_value, teacher_score=teacher_score, **weights)
        teacher = None if given.teacher is None else given.teacher.to(dtype)
        difference = given.difference.to(dtype)
        return merge(
            observations, teacher, difference, seen.byte(), n_seeing, query, products, **dropout
        )

    return run


@pytest.mark.parametrize("shape", SHAPES)
def test_views_are_weighed_for_each_channel_and_passed_on(assert_twins, shape):
    streams, weights, given = make_input(shape)
    assert_twins(fast(given), readable(given), streams, weights)


def test_of_a_single_view_everything_is_taken_whatever_its_score(assert_twins):
    streams, weights, given = make_input((1, 21, 16, 0, 2, 3))
    idle = {name: weights.pop(name) for name in ("score", "place_score", "weight")}
    idle["query"] = streams.pop("query")

    def by_hand(observations, position, value, place_value):
        place = (given.difference @ position[:, :4].T + position[:, 4]).relu()
        return (observations @ value.T + place @ place_value.T)[0], observations

    assert_twins(lambda **some: fast(given)(**some, **idle), by_hand, streams, weights)


@pytest.mark.parametrize("sign", [-1, 1])
def test_views_that_do_not_see_a_sample_do_not_matter_however_far_their_scores(assert_twins, sign):
    streams, weights, given = make_input(SHAPES[0])
    streams["observations"][..., -1] = torch.where(given.seen, 0.0, 200.0)
    weights["score"][:, -1] = 1.0
    weights["weight"] = sign * weights["weight"].abs()
    assert_twins(fast(given), readable(given), streams, weights)


def kept_by_dropout(shape, seed, dropout):
    """Which weights dropout keeps: only one view at a time has a value."""
    n_views, n_rows, width, _, inner, hidden = shape
    kept = torch.zeros(n_views, n_rows, width, dtype=torch.bool)
    zeros = {"score": torch.zeros(inner, width), "place_value": torch.zeros(width, hidden)}
    zeros |= {"place_score": torch.zeros(inner, hidden), "weight": torch.zeros(width, inner)}
    zeros |= {"position": torch.zeros(hidden, 5)}
    all_seen = torch.ones(n_views, n_rows, dtype=torch.bool)
    run = fast(Given(None, torch.zeros(n_views, n_rows, 4), all_seen), seed=seed, dropout=dropout)
    for view in range(n_views):
        observations = torch.zeros(n_views, n_rows, width)
        observations[view] = 1.0
        query = torch.zeros(n_rows, inner)
        kept[view] = run(observations, query, value=torch.eye(width), **zeros)[0] > 0
    return kept


def test_dropout_drops_the_same_weights_forward_and_backward(assert_twins):
    shape, seed = SHAPES[1], torch.tensor([77, 0, 0, 0], dtype=torch.int32)
    streams, weights, given = make_input(shape)
    kept = kept_by_dropout(shape, seed, 0.4)
    assert 0.5 < kept.float().mean() < 0.7
    assert_twins(
        fast(given, dropout=0.4, seed=seed),
        readable(given, factor=kept / 0.6),
        *(streams, weights),
    )


@pytest.mark.parametrize("channels", [0, 8])
def test_with_its_merged_weights_a_view_block_is_the_readable_one(assert_twins, channels):
    torch.manual_seed(0)
    n_views, n_rows, width = 3, 19, 24
    block = ViewTransformer(width + channels, dropout=0.5).eval()
    parameters = dict(block.named_parameters())
    parameters = {name: 2.0 * value.detach() for name, value in parameters.items()}
    fixed = parameters.pop("score.2.bias")  # the same for all views: no softmax sees it
    streams, _, given = make_input((n_views, n_rows, width, channels, 3, 3))
    teacher, difference, seen = given.teacher, given.difference, given.seen
    streams = {"token": torch.randn(n_rows, width + channels), "h": streams["observations"]}
    n_seeing, colour = seen.sum(0).float(), torch.zeros(n_views, n_rows, 4)

    def by_kernels(token, h, **weights):
        observed = Observed(h, teacher, difference, colour, seen.byte(), n_seeing)
        _set(block, weights | {"score.2.bias": fixed})
        device = token.device
        return view_block(block, token, observed, Seeds(device, 0.0, 6), Branch(device))[0]

    def by_module(token, h, **weights):
        h = h if teacher is None else torch.cat([h, teacher], dim=-1)
        of_views = (x.transpose(0, 1)[None] for x in (h, difference, seen))
        weights = weights | {"score.2.bias": fixed}
        return torch.func.functional_call(block, weights, (token[None], *of_views))[0]

    assert_twins(by_kernels, by_module, streams, parameters)


def _set(module, tensors):
    """Put tensors, of which gradients are asked for, in the place of parameters."""
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        part = module.get_submodule(path)
        part._parameters.pop(leaf, None)
        setattr(part, leaf, tensor)


GPU_SHAPES = [
    *SHAPES,
    (10, 5003, 64, 0, 8, 9),
    (10, 3001, 64, 64, 16, 17),
    (10, 999, 64, 9, 9, 10),
]


@pytest.mark.gpu
@pytest.mark.parametrize("shape", GPU_SHAPES)
def test_in_bfloat16_it_is_near_float32(assert_twins, shape):
    streams, weights, given = make_input(shape)
    assert_twins(
        fast(given), readable(given, dtype=torch.bfloat16), streams, weights, torch.bfloat16
    )
