import logging
import sys
from pathlib import Path

import pytest
import torch
import yaml
from pydantic.dataclasses import dataclass

from pipeline.command import run_stage
from pipeline.config import SECTIONS, STRICT, ParamsError, ScenesConfig, load_section
from pipeline.device import pick_device


@dataclass(frozen=True, config=STRICT)
class Part:
    """Part of a section."""

    weights: tuple[float, float]


@dataclass(frozen=True, config=STRICT)
class Section:
    """A section with one key of each kind."""

    steps: int
    rate: float
    folder: Path
    limit: int | None
    part: Part


@pytest.fixture(autouse=True)
def _known_sections(monkeypatch):
    monkeypatch.setattr("pipeline.config.SECTIONS", frozenset({"make", "made", *SECTIONS}))


GOOD = "make: {steps: 3, rate: 0.5, folder: a/b, limit: null, part: {weights: [1, 2.5]}}"


@pytest.fixture
def load(tmp_path):
    def from_text(text, section_type=Section, name="make"):
        (tmp_path / "params.yaml").write_text(text)
        return load_section(tmp_path / "params.yaml", name, section_type)

    return from_text


def test_the_sections_of_the_settings_are_the_known_ones():
    settings = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    assert set(settings) == SECTIONS


def test_an_unknown_section_is_refused_whoever_reads(load):
    with pytest.raises(ParamsError, match="unknown section 'foo'; known: distill"):
        load(GOOD + "\nfoo: 1")


def test_a_section_becomes_its_type(load):
    assert load(GOOD) == Section(3, 0.5, Path("a/b"), None, Part((1.0, 2.5)))


@pytest.mark.parametrize("number", ["5e-4", "5.0e-4", "0.0005", "+5E-04", "5.e-4"])
def test_a_number_with_an_exponent_is_a_number(load, number):
    assert load(GOOD.replace("0.5", number)).rate == 0.0005


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 3", "steps: three", "section 'make': key 'steps': expected a valid integer, got "),
        ("steps: 3", "steps: 3.5", "key 'steps': expected a valid integer.*, got 3.5"),
        ("steps: 3", "steps: '3'", "key 'steps': expected a valid integer, got '3'"),
        ("steps: 3", "steps: yes", "key 'steps': expected a valid integer, got True"),
        ("steps: 3, ", "", "key 'steps' is missing"),
        ("steps: 3", "steps: 3, step: 3", "unknown key 'step' .known: steps, rate, folder, limit"),
        ("0.5", ".nan", "key 'rate': expected a finite number, got nan"),
        ("2.5]", "2.5, 3]", "key 'part.weights'.*got .1, 2.5, 3."),
        ("weights", "weight", "key 'part.weights' is missing; unknown key 'part.weight'"),
        ("make:", "made:", "no section 'make'; it has: made"),
        ("rate: 0.5", "rate: 0.5, rate: 0.6", "key 'rate' stands twice.*line 1, column 29"),
        ("}}", "}", "broken YAML: .*line 1"),
        (GOOD, "make:", "section 'make': expected an object, got None"),
        (GOOD, "[1]", "expected sections `name: ...`, got .1."),
    ],
)
def test_a_mistake_is_told_in_one_line(load, old, new, message):
    assert old in GOOD
    with pytest.raises(ParamsError, match=r"params\.yaml: .*" + message) as error:
        load(GOOD.replace(old, new))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ParamsError, match=r"params\.yaml: cannot read the settings: No such file"):
        load_section(tmp_path / "params.yaml", "make", Section)


def test_scenes_are_training_scenes_then_test_scenes(load):
    scenes = load("scenes: {train: [b, a-1.x], test: [c]}", ScenesConfig, "scenes")
    assert scenes.all_scenes == ["b", "a-1.x", "c"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("a, b", "b", r"named more than once in 'train' and 'test': \['b'\]"),
        ("a, a", "", r"more than once .*\['a'\]"),
        ("", "a", "'train' is empty"),
        ("../a", "", r"scene name '\.\./a'"),
        ("a/b", "", "scene name 'a/b'"),
        ("'a\\b'", "", "scene name"),
        (".a", "", r"scene name '\.a'"),
        ("--all", "", "scene name '--all'"),
        ("''", "", "scene name ''"),
        ("'a '", "", "scene name 'a '"),
        ('"a\\n"', "", "scene name"),
        ("a.partial", "", r"scene name 'a\.partial'"),
        ("no", "", r"key 'train\.0': expected a valid string, got False"),
        ("Fern", "fern", r"more than once .*\['Fern', 'fern'\]"),
        ("\u00e9", "e\u0301", "more than once"),
        ('"a\\u202eb"', "", r"scene name 'a\\u202eb'"),
        ("x" * 201, "", "of at most 200 bytes"),
        ('"a\\0b"', "", "without control characters"),
    ],
)
def test_names_that_are_no_folder_names_are_refused(load, train, test, message):
    with pytest.raises(ParamsError, match=message):
        load(f"scenes: {{train: [{train}], test: [{test}]}}", ScenesConfig, "scenes")


@pytest.mark.parametrize(
    ("name", "n_cuda", "device"),
    [
        ("auto", 0, torch.device("cpu")),
        ("auto", 2, torch.device("cuda", 0)),
        ("cpu", 2, torch.device("cpu")),
        ("cuda", 1, torch.device("cuda", 0)),
        ("cuda:1", 2, torch.device("cuda", 1)),
    ],
)
def test_a_device_that_is_there_is_picked(monkeypatch, name, n_cuda, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
    assert pick_device(name) == device


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "gpu", "", "cuda:", "cuda:x", "cpu:0"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device '{name}': "):
        pick_device(name)


def run(monkeypatch, main, *arguments):
    monkeypatch.setattr(sys, "argv", ["stage", *arguments])
    with pytest.raises(SystemExit) as end:
        run_stage(main)
    return end.value.code


def test_a_mistake_ends_a_stage_with_one_line_and_code_1(monkeypatch, caplog):
    def main(count: int) -> None:
        raise ValueError(f"bad count {count}")

    with caplog.at_level(logging.ERROR):
        assert run(monkeypatch, main, "7") == 1
    assert [record.getMessage() for record in caplog.records] == ["bad count 7"]
    assert caplog.records[0].exc_info in (None, False)


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def main() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(RuntimeError, match="a bug"):
        run_stage(main)


def test_a_stage_that_succeeds_ends_with_code_0(monkeypatch):
    seen = []

    def main(name: str, times: int = 1) -> None:
        seen.append((name, times))

    assert run(monkeypatch, main, "x", "--times", "2") == 0
    assert seen == [("x", 2)]
