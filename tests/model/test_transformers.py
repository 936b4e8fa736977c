"""Both blocks against slow loops written from the formulas of the paper, one sample at a time."""

import math

import pytest
import torch

from gsn.model.transformers import RayTransformer, ViewTransformer

R, S, V, C = 2, 4, 3, 16


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def view_block(dropout=0.0):
    torch.manual_seed(0)
    return shaken(ViewTransformer(C, dropout))


def ray_block(heads=2, dropout=0.0):
    torch.manual_seed(0)
    return shaken(RayTransformer(C, heads, dropout))


def shaken(block):
    """Norms that do something: they start as ones and zeros."""
    for parameter in block.double().parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return block.eval()


def linear(layer, x):
    out = layer.weight @ x
    return out if layer.bias is None else out + layer.bias


def two_layers(mlp, x):
    return linear(mlp[2], linear(mlp[0], x).clamp(min=0))


def norm(layer, x, eps=1e-6):
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + eps) * layer.weight + layer.bias


def fed(block, token):
    hidden = linear(block.feed.grow, norm(block.feed_norm, token)).clamp(min=0)
    return token + linear(block.feed.shrink, hidden)


def softmax(scores):
    largest = max(scores)
    exponents = [math.exp(score - largest) for score in scores]
    return [e / sum(exponents) for e in exponents]


def view_by_loop(block, token, seen, difference, visible):
    """One sample: token (C,), seen (V, C), difference (V, 4), visible (V,)."""
    query = linear(block.query, norm(block.attention_norm, token))
    keys = [linear(block.key, h) for h in seen]
    values = [linear(block.value, k) for k in keys]
    positions = [two_layers(block.position, d) for d in difference]
    scores = [two_layers(block.score, k - query + p) for k, p in zip(keys, positions, strict=True)]
    merged = torch.zeros_like(token)
    for channel in range(C):
        column = [float(s[channel]) if m else -1e9 for s, m in zip(scores, visible, strict=True)]
        for weight, value, position in zip(softmax(column), values, positions, strict=True):
            merged[channel] += weight * (value[channel] + position[channel])
    return fed(block, token + linear(block.output, merged))


def ray_by_loop(block, tokens, used):
    """One ray: tokens (S, C), used (S,). Returns new tokens and the mean weights of the heads."""
    normed = [norm(block.attention_norm, t) for t in tokens]
    queries, keys, values = (
        [linear(layer, x) for x in normed] for layer in (block.query, block.key, block.value)
    )
    size = C // block.n_heads
    weights_mean, new = torch.zeros(S, S, dtype=tokens.dtype), []
    for i in range(S):
        merged = torch.zeros(C, dtype=tokens.dtype)
        for head in range(block.n_heads):
            part = slice(head * size, (head + 1) * size)
            scores = [float(queries[i][part] @ k[part]) / math.sqrt(size) for k in keys]
            kept = [s if u else -math.inf for s, u in zip(scores, used, strict=True)]
            weights = softmax(kept)
            for j in range(S):
                merged[part] += weights[j] * values[j][part]
                weights_mean[i, j] += weights[j] / block.n_heads
        new.append(fed(block, tokens[i] + linear(block.output, merged)))
    return torch.stack(new), weights_mean


def view_inputs():
    visible = draw(R, S, V, seed=3) > -0.5
    visible[0, 0] = False
    visible[0, 1] = True
    return draw(R, S, C), draw(R, S, V, C, seed=1), draw(R, S, V, 4, seed=2), visible


def ray_inputs():
    used = torch.tensor([[True, False, True, True], [False, True, False, False]])
    return draw(R, S, C), used


@torch.no_grad()
def test_the_view_block_matches_a_loop():
    block, inputs = view_block(), view_inputs()
    got = block(*inputs)
    for r in range(R):
        for s in range(S):
            torch.testing.assert_close(got[r, s], view_by_loop(block, *(x[r, s] for x in inputs)))


@torch.no_grad()
def test_what_a_hidden_view_says_changes_nothing():
    block, (token, seen, difference, visible) = view_block(), view_inputs()
    expected = block(token, seen, difference, visible)
    hidden = ~visible[..., None]
    noise = 100 * draw(R, S, V, C, seed=9)
    got = block(token, seen + noise * hidden, difference + noise[..., :4] * hidden, visible)
    some = visible.any(-1)
    torch.testing.assert_close(got[some], expected[some])
    assert got.isfinite().all()  # also where no view sees the sample


@torch.no_grad()
def test_the_order_of_the_views_does_not_count():
    block, (token, seen, difference, visible) = view_block(), view_inputs()
    order = torch.tensor([2, 0, 1])
    got = block(token, seen[:, :, order], difference[:, :, order], visible[:, :, order])
    torch.testing.assert_close(got, block(token, seen, difference, visible))


@torch.no_grad()
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_ray_block_and_its_attention_match_a_loop(heads):
    block, (token, used) = ray_block(heads), ray_inputs()
    got, weights = block(token, used), block.attention(token, used)
    for r in range(R):
        expected, expected_weights = ray_by_loop(block, token[r], used[r])
        torch.testing.assert_close(got[r], expected)
        torch.testing.assert_close(weights[r], expected_weights.float())


@torch.no_grad()
def test_the_attention_returned_is_the_one_that_forward_uses():
    block, (token, used) = ray_block(heads=1), ray_inputs()
    values = block.value(block.attention_norm(token))
    merged = block.attention(token, used).double() @ values
    by_attention = token + block.output(merged)
    by_attention = by_attention + block.feed(block.feed_norm(by_attention))
    torch.testing.assert_close(block(token, used), by_attention, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_samples_that_do_not_count_are_not_looked_at():
    block, (token, used) = ray_block(), ray_inputs()
    changed = token + 10 * draw(R, S, C, seed=5) * ~used[..., None]
    torch.testing.assert_close(block(changed, used)[used], block(token, used)[used])
    weights = block.attention(token, used)
    assert not weights.transpose(1, 2)[~used].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(R, S))


@torch.no_grad()
def test_rays_do_not_see_one_another():
    block, (token, used) = ray_block(), ray_inputs()
    torch.testing.assert_close(block(token[1:], used[1:]), block(token, used)[1:])


@torch.no_grad()
def test_dropout_works_in_training_alone():
    for block, inputs in (
        (view_block(dropout=0.5), view_inputs()),
        (ray_block(dropout=0.5), ray_inputs()),
    ):
        assert torch.equal(block(*inputs), block(*inputs))
        block.train()
        assert not torch.allclose(block(*inputs), block(*inputs))
