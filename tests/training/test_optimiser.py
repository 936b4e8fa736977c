import pytest
import torch
from pydantic import ValidationError

from gsn.training.optimiser import (
    OptimiserConfig,
    build_optimiser,
    keep_rates_on,
    restore_optimiser,
    set_rates,
)

SETTINGS = {"encoder_rate": 1e-3, "renderer_rate": 5e-4, "head_rate": 2e-3, "warmup_steps": 4}
SETTINGS |= {"decay_steps": 10, "decay_factor": 0.5}
CONFIG = OptimiserConfig(**SETTINGS)


def rates_at(model, step, config=CONFIG):
    optimiser = build_optimiser(model, config)
    set_rates(optimiser, config, step)
    return [group["lr"] for group in optimiser.param_groups]


@pytest.mark.parametrize("channels", [None, 4])
def test_every_weight_is_trained_once(make_model, channels):
    model = make_model(channels)
    groups = build_optimiser(model, CONFIG).param_groups
    trained = [id(p) for group in groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())


def test_each_part_has_its_own_rate(make_model):
    model = make_model(4)
    by_part = {"encoder": 1e-3, "renderer": 5e-4, "feature_head": 2e-3}
    set_rates(optimiser := build_optimiser(model, CONFIG), CONFIG, 5)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == by_part[name.split(".")[0]]


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.25), (1, 0.5), (3, 1), (4, 1), (9, 1), (10, 0.5), (19, 0.5), (20, 0.25), (45, 1 / 16)],
)
def test_rates_rise_over_the_warmup_and_fall_in_steps(make_model, step, share):
    assert rates_at(make_model(4), step) == pytest.approx(
        [1e-3 * share, 5e-4 * share, 2e-3 * share]
    )


def test_without_a_warmup_the_first_step_has_the_full_rate(make_model):
    config = OptimiserConfig(**(SETTINGS | {"warmup_steps": 0}))
    assert rates_at(make_model(), 0, config) == [1e-3, 5e-4]


def test_rates_do_not_depend_on_the_steps_before(make_model):
    optimiser = build_optimiser(make_model(), CONFIG)
    for step in (30, 2, 0, 12):
        set_rates(optimiser, CONFIG, step)
    assert [group["lr"] for group in optimiser.param_groups] == rates_at(make_model(), 12)


def steps(model, optimiser, numbers):
    """Take the steps of these numbers; each has a random gradient of its own."""
    for number in numbers:
        draw = torch.Generator().manual_seed(number)
        for weight in model.parameters():
            weight.grad = torch.randn(weight.shape, generator=draw)
        set_rates(optimiser, CONFIG, number)
        optimiser.step()


def test_rates_in_tensors_change_in_place_and_do_what_plain_numbers_do(make_model):
    plain, other = make_model(4), make_model(4)
    steps(plain, build_optimiser(plain, CONFIG), range(14))
    keep_rates_on(optimiser := build_optimiser(other, CONFIG), torch.device("cpu"))
    rates = [group["lr"] for group in optimiser.param_groups]
    assert len({rate.data_ptr() for rate in rates}) == 3
    steps(other, optimiser, range(14))
    assert all(g["lr"] is rate for g, rate in zip(optimiser.param_groups, rates, strict=True))
    assert [float(rate) for rate in rates] == pytest.approx([5e-4, 2.5e-4, 1e-3])  # after a decay
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("saved_in_tensors", [True, False])
@pytest.mark.parametrize("wanted_in_tensors", [True, False])
def test_an_optimiser_goes_on_wherever_rates_were_kept_and_are(
    make_model, saved_in_tensors, wanted_in_tensors
):
    def build(model, in_tensors):
        optimiser = build_optimiser(model, CONFIG)
        if in_tensors:
            keep_rates_on(optimiser, torch.device("cpu"))
        return optimiser

    whole, first, second = make_model(4), make_model(4), make_model(4, seed=1)
    steps(whole, build_optimiser(whole, CONFIG), range(8))
    steps(first, saved := build(first, saved_in_tensors), range(5))
    restored = build(second, wanted_in_tensors)
    kept = [group["lr"] for group in restored.param_groups]
    second.load_state_dict(first.state_dict())
    restore_optimiser(restored, saved.state_dict())
    for group, rate in zip(restored.param_groups, kept, strict=True):
        assert isinstance(group["lr"], torch.Tensor) == wanted_in_tensors
        assert group["capturable"] == wanted_in_tensors
        assert group["lr"] is rate
    steps(second, restored, range(5, 8))
    for one, two in zip(whole.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "wrong",
    [{"head_rate": 0.0}, {"encoder_rate": float("nan")}, {"decay_factor": 1.5}, {"decay_steps": 0}],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        OptimiserConfig(**(SETTINGS | wrong))
