import pytest
from pydantic import ValidationError

from gsn.training.optimiser import OptimiserConfig, build_optimiser, set_rates

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


@pytest.mark.parametrize(
    "wrong",
    [{"head_rate": 0.0}, {"encoder_rate": float("nan")}, {"decay_factor": 1.5}, {"decay_steps": 0}],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        OptimiserConfig(**(SETTINGS | wrong))
