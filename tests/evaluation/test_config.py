from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from gsn.evaluation.config import EvaluateConfig, PerSplit
from gsn.strict_yaml import validate

PARAMS = Path(__file__).parents[2] / "params.yaml"


def section(**changes):
    values = yaml.safe_load(PARAMS.read_text())["evaluate"]
    for keys, value in changes.items():
        *outer, last = keys.split("__")
        part = values
        for key in outer:
            part = part[key]
        part[last] = value
    return values


def test_the_settings_of_the_repository_are_read_as_they_stand():
    values = section()
    found = asdict(validate(values, EvaluateConfig))
    found["strokes"]["seeds"] = list(found["strokes"]["seeds"])
    found["text"]["neutral"] = list(found["text"]["neutral"])
    assert found == values


def test_a_number_per_split_is_that_of_the_split():
    limits = PerSplit(unseen=7, seen=0)
    assert (limits.of("unseen"), limits.of("seen")) == (7, 0)
    with pytest.raises(KeyError):
        limits.of("all")


@pytest.mark.parametrize(
    "changes",
    [
        {"pixel_stride": 0},
        {"source_views": 0},
        {"boundary_tolerance": 0.0},
        {"boundary_tolerance": 1.0},
        {"boundary_tolerance": float("nan")},
        {"max_views_per_scene__unseen": -1},
        {"max_views_per_scene__all": 1},
        {"max_views_per_scene": 3},
        {"orbit__frames_per_second": 0.0},
        {"orbit__frames__seen": 1.5},
        {"segmentation__threshold": "by eye"},
        {"segmentation__refine": "all"},
        {"segmentation__distance": "euclid"},
        {"lpips": "yes"},
        {"iou": 1},
    ],
)
def test_settings_that_mean_nothing_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes)).split("__")[0]):
        validate(section(**changes), EvaluateConfig)


@pytest.mark.parametrize("key", sorted(section()))
def test_no_setting_has_a_value_that_is_not_written_down(key):
    values = section()
    del values[key]
    with pytest.raises(ValueError, match=rf"'{key}' is missing"):
        validate(values, EvaluateConfig)


def test_settings_do_not_change_after_they_were_read(config):
    with pytest.raises((ValidationError, AttributeError)):
        config.pixel_stride = 3
