import math

import pytest
import torch

from demo_teachers.crops import Crops
from demo_teachers.dino import (
    CENTRE_MOMENTUM,
    PROTOTYPES,
    Branch,
    Head,
    Pair,
    Target,
    cross_entropy,
)
from demo_teachers.train_dino import HIDDEN, Seen, draw_hidden, step_losses
from gsn.teachers.demo.networks import PATCH_PX, WIDTH

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def branch():
    torch.manual_seed(0)
    return Branch().eval()


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return Pair(CPU)


def test_cross_entropy_matches_hand_calculation():
    # Divided by 0.1: logits 1 and 3, log of the sum of exponentials 3 + ln(1 + e⁻²).
    top = math.log(1 + math.exp(-2))
    first, second = 0.25 * (2 + top) + 0.75 * top, 1.0 * (2 + top)
    cosines = torch.tensor([[0.1, 0.3], [0.1, 0.3]])
    target = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert cross_entropy(cosines, target).item() == pytest.approx((first + second) / 2, rel=1e-5)
    only = cross_entropy(cosines, target, torch.tensor([False, True]))
    assert only.item() == pytest.approx(second, rel=1e-5)
    assert cross_entropy(cosines, target, torch.tensor([False, False])).item() == 0


def test_the_target_is_centred_and_sharpened_and_its_centre_moves():
    target = Target()
    cosines = torch.zeros(2, 3, PROTOTYPES)
    cosines[..., 0], cosines[0, :, 1] = 0.4, 0.2
    first = target(cosines, 0.1)
    rest = PROTOTYPES - 2
    sums = math.exp(4) + math.exp(2) + rest, math.exp(4) + 1 + rest
    expected = [math.exp(4) / sums[0], math.exp(4) / sums[1]]
    torch.testing.assert_close(first[:, 0, 0], torch.tensor(expected))
    # The mean of the batch is (0.4, 0.1, 0, ...).
    step = 1 - CENTRE_MOMENTUM
    assert target.centre[:3].tolist() == pytest.approx([0.4 * step, 0.1 * step, 0.0])
    second = target(cosines, 0.1)
    a, b = math.exp(4 - 4 * step), math.exp(2 - 1 * step)
    assert second[0, 0, 0].item() == pytest.approx(a / (a + b + rest), rel=1e-5)
    assert target.centre[0].item() == pytest.approx(0.4 * (1 - (1 - step) ** 2), rel=1e-5)


def test_the_teacher_follows_by_the_momentum(pair):
    with torch.no_grad():
        for value in pair.student.parameters():
            value.add_(torch.randn_like(value))
    before = {name: value.clone() for name, value in pair.teacher.named_parameters()}
    student = {name: value.clone() for name, value in pair.student.named_parameters()}
    pair.follow(0.9)
    for name, value in pair.teacher.named_parameters():
        torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * student[name])
        assert not value.requires_grad
        assert torch.equal(dict(pair.student.named_parameters())[name], student[name])


def test_heads_give_cosines():
    torch.manual_seed(0)
    head, tokens = Head(), torch.randn(5, WIDTH)
    got = head(tokens)
    direction = head.mlp(tokens)[2]
    for k in (0, 7, PROTOTYPES - 1):
        cosine = torch.nn.functional.cosine_similarity(direction, head.prototypes[k], dim=0)
        torch.testing.assert_close(got[2, k], cosine)


@torch.no_grad()
def test_pixels_of_hidden_patches_do_not_reach_the_student(branch):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 40)
    hide = torch.rand(2, 4, 5) < 0.4
    assert 0 < hide.sum() < 40
    pixels = hide.repeat_interleave(PATCH_PX, 1).repeat_interleave(PATCH_PX, 2)[:, None]
    changed = torch.where(pixels, torch.randn_like(images), images)
    for one, other in zip(branch(images, hide), branch(changed, hide), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(branch(images), branch(changed), strict=True):
        assert (one - other).abs().max() > 1e-3
    # Those that are left do reach it, and so does the place of what is hidden.
    shown = torch.where(pixels, images, torch.randn_like(images))
    assert (branch(images, hide)[1] - branch(shown, hide)[1]).abs().max() > 1e-3
    assert (branch(images, hide)[1] - branch(images)[1]).abs().max() > 1e-3


@torch.no_grad()
def test_nothing_hidden_is_the_public_forward_of_the_network(branch):
    images = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    picture, patches = branch(images, torch.zeros(2, 14, 14, dtype=torch.bool))
    tokens = branch.vit.forward_features(images)
    torch.testing.assert_close(picture, branch.picture_head(tokens[:, 0]))
    expected = branch.patch_head(tokens[:, 1:]).reshape(2, 14, 14, PROTOTYPES)
    torch.testing.assert_close(patches, expected)


def test_a_third_of_the_patches_is_hidden_in_blobs_in_most_pictures():
    torch.manual_seed(0)
    hide = draw_hidden(300, 14, CPU)
    parts = hide.float().mean(dim=(1, 2))
    some = parts > 0
    assert 0.5 < some.float().mean() < 0.7
    assert (parts[some] - HIDDEN).abs().max() < 0.02
    pairs = hide[some]
    beside = (pairs[:, :, 1:] & pairs[:, :, :-1]).float().mean()
    assert beside > 1.5 * HIDDEN**2  # alone they would be beside each other that often


def test_the_partner_is_the_other_picture_of_the_pair():
    # First pictures of pairs a, b, c, then the second ones.
    names = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0, 30.0])
    crops = Crops(names[:, None].repeat(1, 2), names[:, None].repeat(1, 2))
    partner = Seen(crops, names[:, None], names[:, None, None, None]).partner
    for tensor in (partner.crops.centre, partner.crops.half, partner.picture, partner.patches):
        assert tensor.flatten(1)[:, 0].tolist() == [10, 20, 30, 1, 2, 3]


def test_patches_are_matched_with_what_is_seen_at_the_same_place():
    torch.manual_seed(0)
    # The right half of the picture, mirrored, in 2 × 2 patches; three prototypes.
    crops = Crops(torch.tensor([[0.5, 0.0]]), torch.tensor([[-0.5, 1.0]]))
    patches = torch.randn(1, 3, 2, 2).softmax(dim=1)
    seen = Seen(crops, torch.zeros(1, 3), patches)
    cosines = torch.randn(1, 1, 3, 3)
    # Upper far right: patch (0, 0). Lower, right of the middle: patch (1, 1). Left: not seen.
    points = torch.tensor([[[(0.75, -0.5), (0.25, 0.5), (-0.5, 0.5)]]])
    expected = 0.0
    for k, (i, j) in enumerate([(0, 0), (1, 1)]):
        logits = cosines[0, 0, k] / 0.1
        for prototype in range(3):
            log_probability = logits[prototype] - logits.exp().sum().log()
            expected -= patches[0, prototype, i, j] * log_probability / 2
    torch.testing.assert_close(seen.match(cosines, points), expected)


def test_losses_are_finite_and_reach_every_weight_of_the_student_alone(pair, pairs):
    losses = step_losses(pair, pairs, 0.04)
    assert set(losses) == {"picture", "across", "hidden", "local picture", "local"}
    for name, loss in losses.items():
        # Before any learning: about the entropy of an even choice.
        assert 0.5 * math.log(PROTOTYPES) < loss.item() < 2 * math.log(PROTOTYPES), name
    sum(losses.values()).backward()
    for name, value in pair.student.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        assert value.grad.abs().max() > 0, name
    assert all(value.grad is None for value in pair.teacher.parameters())
