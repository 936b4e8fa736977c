import math

import pytest
import torch
from pydantic import ValidationError

from gsn.model.network import Rendering
from gsn.training.losses import LossConfig, colour_loss, feature_loss, total_loss

RGB = torch.tensor([[0.5, 0.5, 0.5], [1.0, 0.0, 0.25]])
TARGET = torch.tensor([[0.5, 0.1, 0.5], [1.0, 0.0, 0.75]])
MSE = (0.4**2 + 0.5**2) / 6
FEATURE = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
UNIT = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
COSINE = (1 - math.sqrt(0.5)) / 2


def test_the_colour_loss_is_the_mean_square_over_rays_and_channels():
    assert float(colour_loss(RGB, TARGET)) == pytest.approx(MSE)
    assert float(colour_loss(TARGET, TARGET)) == 0


def test_black_for_white_costs_one_so_colours_are_numbers_up_to_one():
    assert float(colour_loss(torch.zeros(4, 3), torch.ones(4, 3))) == 1


def test_the_cosine_loss_looks_at_directions_alone():
    assert float(feature_loss(FEATURE, UNIT, "cosine")) == pytest.approx(1 - COSINE)
    assert float(feature_loss(7 * FEATURE, UNIT, "cosine")) == pytest.approx(1 - COSINE)
    assert float(feature_loss(UNIT, UNIT, "cosine")) == 0
    assert float(feature_loss(-UNIT, UNIT, "cosine")) == 2


def test_the_published_feature_loss_asks_for_the_length_too():
    assert float(feature_loss(FEATURE, UNIT, "mse")) == pytest.approx((4 + 0 + 1 + 4) / 4)
    assert float(feature_loss(UNIT, UNIT, "mse")) == 0
    # Nothing rendered: a unit vector of D channels has the mean square 1 / D.
    assert float(feature_loss(torch.zeros(5, 64), torch.eye(64)[:5], "mse")) == 1 / 64


@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_the_total_is_the_weighted_sum_and_its_parts_are_for_the_curves(kind):
    rgb, feature = RGB.clone().requires_grad_(), FEATURE.clone().requires_grad_()
    config = LossConfig(rgb_weight=2.0, feature_weight=0.1, feature_loss=kind)
    loss, parts = total_loss(Rendering(rgb, feature), TARGET, UNIT, config)
    expected = 2 * MSE + 0.1 * {"cosine": 1 - COSINE, "mse": 9 / 4}[kind]
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert rgb.grad.any() and feature.grad.any()
    assert not any(part.requires_grad for part in parts.values())
    found = {name: float(part) for name, part in parts.items()}
    assert found == pytest.approx(
        {"loss": expected, "psnr_db": -10 * math.log10(MSE), "feature_cosine": COSINE}
    )


def test_stage_one_has_colour_alone():
    config = LossConfig(rgb_weight=3.0, feature_weight=9.0, feature_loss="mse")
    loss, parts = total_loss(Rendering(RGB), TARGET, None, config)
    assert float(loss) == pytest.approx(3 * MSE)
    assert set(parts) == {"loss", "psnr_db"}


@pytest.mark.parametrize("target", [torch.zeros(1, 3), torch.zeros(2, 1), torch.zeros(3)])
def test_a_target_of_another_shape_is_refused_and_not_broadcast(target):
    with pytest.raises(ValueError, match=r"target: expected shape \(2 3\)"):
        colour_loss(RGB, target)


def test_features_of_another_number_of_channels_are_refused():
    with pytest.raises(ValueError, match=r"target: expected shape \(2 2\), got \(2, 3\)"):
        feature_loss(FEATURE, TARGET, "mse")


@pytest.mark.parametrize(
    "wrong", [{"rgb_weight": -1.0}, {"feature_weight": math.inf}, {"feature_loss": "l1"}]
)
def test_wrong_settings_are_refused(wrong):
    good = {"rgb_weight": 1.0, "feature_weight": 0.0, "feature_loss": "mse"}
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LossConfig(**(good | wrong))
