import itertools
import math

import numpy as np
import pytest
import torch

from demo_teachers.captions import ANY, BACKGROUND, write_captions
from demo_teachers.crops import Crops
from demo_teachers.stream import HEIGHT, WIDTH
from demo_teachers.train_clip import (
    TRUE_WEIGHT,
    Towers,
    choice_loss,
    look_into,
    sigmoid_loss,
    step_losses,
    true_of_patches,
)

SIDE = 14  # patches of a crop


def fits_by_loop(told, thing):
    return all(part in (ANY, own) for part, own in zip(told.tolist(), thing.tolist(), strict=True))


@pytest.fixture(scope="module")
def crops():
    """Of two pictures: one upright, one mirrored."""
    centre = torch.tensor([[0.1, -0.1], [-0.2, 0.1]])
    return Crops(centre, torch.tensor([[0.6, 0.8], [-0.7, 0.75]]))


def test_parts_of_patches_match_a_loop_over_points(pairs, crops):
    content, parts = look_into(pairs, crops)
    assert parts.shape == (2, SIDE * SIDE, pairs.things.shape[1] + 1)
    areas = torch.zeros(2, pairs.things.shape[1] + 1)
    for b in range(2):
        (cx, cy), (half_x, half_y) = crops.centre[b].tolist(), crops.half[b].tolist()
        for patch in range(SIDE * SIDE):
            row, column = divmod(patch, SIDE)
            expected = torch.zeros(parts.shape[2])
            for i, j in itertools.product(range(4), repeat=2):
                x = cx + half_x * ((4 * column + j + 0.5) / (4 * SIDE) * 2 - 1)
                y = cy + half_y * ((4 * row + i + 0.5) / (4 * SIDE) * 2 - 1)
                u, v = (x + 1) / 2 * WIDTH, (y + 1) / 2 * HEIGHT
                expected[pairs.masks[b, 0, int(v), int(u)].long()] += 1 / 16
            # Points on the border of two pixels may fall either way.
            assert (parts[b, patch] - expected).abs().sum() <= 0.25
            areas[b] += expected
    torch.testing.assert_close(parts.sum(dim=1), areas, rtol=0, atol=0.5)
    clear = (areas[:, 1:] - 1.5).abs() > 0.5
    assert torch.equal(content.shown[clear], (areas[:, 1:] > 1.5)[clear])
    assert 0 < content.shown.sum() < content.shown.numel()


def test_truth_of_patches_matches_a_loop(pairs, crops):
    content, parts = look_into(pairs, crops)
    captions = write_captions(np.random.default_rng(0), content, 30, 0)
    true, counted = true_of_patches(captions, content, parts)
    assert true.shape == (2 * SIDE * SIDE, 30 + len(BACKGROUND))
    for b in range(2):
        for patch in range(SIDE * SIDE):
            row = b * SIDE * SIDE + patch
            part, owner = max((p, -k) for k, p in enumerate(parts[b, patch].tolist()))
            assert bool(counted[row]) == (part > 0.6)
            if part <= 0.5:  # whose it is does not matter
                continue
            if owner == 0:
                expected = [False] * 30 + [True] * len(BACKGROUND)
            else:
                thing = content.things[b, -owner - 1]
                expected = [fits_by_loop(told, thing) for told in captions.first]
                expected += [False] * len(BACKGROUND)
            assert true[row].tolist() == expected
    assert true[counted, :30].any()
    assert true[counted, -1].any()


def test_the_sigmoid_loss_matches_hand_calculation():
    logits = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    true = torch.tensor([[True, False], [False, False]])
    # -log sigmoid(±x) = log(1 + exp(∓x)): the true pair counts several times.
    expected = TRUE_WEIGHT * math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))
    expected += math.log(2) + math.log(1 + math.exp(3))
    assert sigmoid_loss(logits, true).item() == pytest.approx(expected / 4, rel=1e-5)


def choice_by_loop(logits, true, weights):
    """Reference: for each row the mean of -log softmax over its true columns."""
    total, shares = 0.0, 0.0
    for row, is_true, weight in zip(logits.tolist(), true.tolist(), weights, strict=True):
        if any(is_true):
            whole = sum(math.exp(x) for x in row)
            losses = [math.log(whole) - x for x, t in zip(row, is_true, strict=True) if t]
            total += weight * sum(losses) / len(losses)
            shares += weight
    return total / shares


def test_the_choice_loss_matches_a_loop():
    draw = torch.Generator().manual_seed(0)
    logits, true = torch.randn(6, 5, generator=draw), torch.rand(6, 5, generator=draw) < 0.4
    true[2] = False  # a row that nothing is true of does not count
    weights = [1.0, 2.0, 50.0, 0.5, 3.0, 0.1]
    assert choice_loss(logits, true).item() == pytest.approx(
        choice_by_loop(logits, true, [1.0] * 6), rel=1e-5
    )
    assert choice_loss(logits, true, torch.tensor(weights)).item() == pytest.approx(
        choice_by_loop(logits, true, weights), rel=1e-5
    )


def test_the_choice_loss_is_least_where_true_texts_share_alike():
    true = torch.tensor([[True, True, False]])
    alike = choice_loss(torch.tensor([[9.0, 9.0, -9.0]]), true)
    assert alike.item() == pytest.approx(math.log(2), abs=1e-4)
    for logits in ([9.0, 0.0, -9.0], [0.0, 9.0, -9.0], [9.0, 9.0, 9.0]):
        assert choice_loss(torch.tensor([logits]), true) > alike + 0.1


def test_nothing_true_is_no_loss():
    logits = torch.randn(3, 4, requires_grad=True)
    loss = choice_loss(logits, torch.zeros(3, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("texts_only", [False, True])
def test_losses_are_finite_and_reach_the_towers_that_learn(pairs, texts_only, monkeypatch):
    monkeypatch.setattr("demo_teachers.train_clip.AREA", (0.9, 1.0))  # something is shown
    torch.manual_seed(0)
    towers = Towers(texts_only=texts_only)
    losses = step_losses(towers, pairs, np.random.default_rng(0))
    for name, loss in losses.items():
        assert 0 < loss.item() < math.inf, name
    sum(losses.values()).backward()
    for name, value in towers.named_parameters():
        if name == "network.logit_scale":  # of open_clip; here the scales are the towers' own
            assert value.grad is None
        elif texts_only and name.startswith("network.visual."):
            assert value.grad is None, name
        else:
            assert value.grad.isfinite().all(), name
            assert value.grad.abs().max() > 0, name
