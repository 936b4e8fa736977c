"""Any value at any key of params.yaml gives a section or a ParamsError, never anything else."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gsn.evaluation.config import EvaluateConfig
from gsn.teachers.teacher import TeacherConfig
from pipeline.config import ParamsError, ScenesConfig, load_section
from pipeline.distill import DistillConfig
from pipeline.extract import ExtractConfig
from pipeline.fetch import FetchConfig
from pipeline.prepare import PrepareConfig
from pipeline.pretrain import PretrainConfig
from pipeline.reduce import ReduceConfig

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
FORMS = {
    "scenes": ScenesConfig,
    "teacher": TeacherConfig,
    "fetch": FetchConfig,
    "prepare": PrepareConfig,
    "extract": ExtractConfig,
    "reduce": ReduceConfig,
    "pretrain": PretrainConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
}
FREE_KEYS = {("fetch", "archives")}  # a mapping that need not have every key
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NASTY = st.sampled_from(
    [0, -1, 1, 2**31, 2**63 - 1, 2**63, 10**400, 0.0, -0.0, 1e-320, 1e308, float("inf"),
     float("nan"), "", " ", "a\0b", "\ud800", "../a", "a" * 300, "é", "2020-01-01", "1:30", "null",
     None, True, [], {}, [[]], {"<<": 1}]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NASTY
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=6,
)


def keys_below(content, place=()):
    """Paths to every value of a section, its own first."""
    yield place
    children = content.items() if isinstance(content, dict) else ()
    if isinstance(content, list):
        children = enumerate(content)
    for key, child in children:
        yield from keys_below(child, (*place, key))


def value_at(content, place):
    for key in place:
        content = content[key]
    return content


def replaced(content, place, value):
    if not place:
        return value
    changed = copy.deepcopy(content)
    value_at(changed, place[:-1])[place[-1]] = value
    return changed


@pytest.fixture
def load(tmp_path):
    def from_content(name, content):
        text = yaml.safe_dump({name: content}, allow_unicode=False)
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
        return load_section(tmp_path / "params.yaml", name, FORMS[name])

    return from_content


def test_every_section_is_tried():
    assert set(FORMS) == set(PARAMS)


@pytest.mark.parametrize("name", FORMS)
@QUICK
@given(data=st.data())
def test_any_value_at_any_key_is_a_section_or_a_mistake(load, name, data):
    place = data.draw(st.sampled_from(list(keys_below(PARAMS[name]))))
    content = replaced(PARAMS[name], place, data.draw(VALUES))
    try:
        section = load(name, content)
    except ParamsError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 3000
    else:
        again = TypeAdapter(FORMS[name]).dump_python(section, mode="json")
        assert load(name, again) == section


@pytest.mark.parametrize("name", FORMS)
@QUICK
@given(data=st.data())
def test_a_key_that_is_missing_or_new_is_a_mistake(load, name, data):
    section = PARAMS[name]
    forms = [place for place in keys_below(section) if isinstance(value_at(section, place), dict)]
    place = data.draw(st.sampled_from([p for p in forms if (name, *p) not in FREE_KEYS]))
    mapping = value_at(section, place)
    key = data.draw(st.sampled_from(sorted(mapping)))
    lacking = {other: value for other, value in mapping.items() if other != key}
    where = ".".join([*place, key])
    with pytest.raises(ParamsError, match=f"key '{where}' is missing"):
        load(name, replaced(section, place, lacking))
    where = ".".join([*place, "colour"])
    with pytest.raises(ParamsError, match=f"unknown key '{where}'"):
        load(name, replaced(section, place, {**mapping, "colour": 1}))


@QUICK
@given(
    data=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode(errors="replace"))
)
def test_a_file_of_any_bytes_is_a_mistake(tmp_path, data):
    (tmp_path / "params.yaml").write_bytes(data)
    with pytest.raises(ParamsError, match=r"params\.yaml: ") as caught:
        load_section(tmp_path / "params.yaml", "scenes", ScenesConfig)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["n_views", "width_px", "height_px", "samples_per_side", "baseline"]
)
def test_synthetic_captures_of_terabytes_are_refused(load, key):
    content = replaced(PARAMS["fetch"], ("synthetic", key), 10**12)
    with pytest.raises(ParamsError, match=f"key 'synthetic.{key}': .*less than or equal to"):
        load("fetch", content)


@QUICK
@given(names=st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_a_scene_name_that_is_taken_is_a_folder_of_its_own(load, tmp_path, names):
    try:
        scenes = load("scenes", {"train": names, "test": []}).all_scenes
    except ParamsError:
        return
    for name in scenes:
        place = (tmp_path / "raw" / name).resolve()
        assert place.parent == (tmp_path / "raw").resolve()
        assert place.name == name
    assert len({name.lower() for name in scenes}) == len(scenes)
