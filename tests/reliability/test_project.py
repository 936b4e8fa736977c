from pathlib import Path

import pytest
import yaml

from pipeline.config import ScenesConfig, load_section
from reliability.project import EARLIER, OWN, read_graph, tiny_params, write_params

GRAPH = read_graph()


def test_every_stage_of_dvc_yaml_is_there_in_its_order():
    names = ["fetch", "prepare", "extract", "reduce", "pretrain", "distill", "evaluate"]
    assert list(GRAPH.by_name) == list(EARLIER) == names


def test_names_of_the_tiny_project_are_filled_in():
    evaluate = GRAPH.by_name["evaluate"]
    assert evaluate.module == "pipeline.evaluate"
    assert evaluate.arguments[:5] == (
        "models/distill/clip-demo.pt",
        "data/prepared",
        "data/targets/clip-demo",
        "unseen",
        "reports/unseen",
    )
    assert "$" not in str(GRAPH)


def test_makers_and_readers_are_those_of_dvc_yaml():
    pack = Path("data/prepared/a.h5")
    assert GRAPH.maker_of(pack) is GRAPH.by_name["prepare"]
    readers = [stage.name for stage in GRAPH.readers_of(pack)]
    assert readers == ["extract", "reduce", "pretrain", "distill", "evaluate"]
    assert GRAPH.maker_of(Path("captures/a/poses_bounds.npy")) is None
    assert GRAPH.before(GRAPH.by_name["prepare"]) is GRAPH.by_name["fetch"]


def test_outputs_that_dvc_keeps_are_known():
    kept = {stage.name for stage in GRAPH.stages if stage.kept}
    assert kept == {"fetch", "extract", "pretrain", "distill"}


def test_settings_are_read_by_the_pipeline(tmp_path):
    write_params(tmp_path / "params.yaml", {})
    scenes = load_section(tmp_path / "params.yaml", "scenes", ScenesConfig)
    assert scenes.train == ["tabletop_0", OWN]


def test_every_earlier_setting_changes_something():
    for name, changes in EARLIER.items():
        assert yaml.safe_dump(tiny_params(changes)) != yaml.safe_dump(tiny_params({})), name


def test_a_key_that_params_yaml_lacks_is_named():
    with pytest.raises(ValueError, match=r"no key 'reduce\.colour'"):
        tiny_params({"reduce.colour": 1})
