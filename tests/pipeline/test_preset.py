import difflib
import re
from pathlib import Path

import pytest
import yaml
from published_archives import publish_archive

from gsn.captures.archives.catalogue import EXCLUDED, NERF, SEGMENTATION
from gsn.evaluation.config import EvaluateConfig
from gsn.teachers import TEACHERS
from pipeline.config import ScenesConfig, load_section
from pipeline.distill import DistillConfig
from pipeline.extract import ExtractConfig
from pipeline.fetch import FetchConfig
from pipeline.prepare import PrepareConfig
from pipeline.preset import PRESETS, apply_preset
from pipeline.pretrain import PretrainConfig
from pipeline.reduce import ReduceConfig

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
SECTIONS = {
    "scenes": ScenesConfig,
    "fetch": FetchConfig,
    "prepare": PrepareConfig,
    "extract": ExtractConfig,
    "reduce": ReduceConfig,
    "pretrain": PretrainConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
}


@pytest.fixture
def params(tmp_path):
    """A copy of params.yaml in which no source of an archive is named."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    for places in settings["fetch"]["archives"].values():
        for place in places:
            text = text.replace(f"      - {place}\n", "")
    for name in settings["fetch"]["archives"]:
        text = text.replace(f"    {name}:\n", f"    {name}: []\n")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "params.yaml"


@pytest.fixture
def apply(params, tmp_path):
    """Return what applies a preset and returns the scenes that params.yaml then has."""

    def run(name):
        apply_preset(name, params, None, tmp_path / "archives", tmp_path / "lock")
        return load_section(params, "scenes", ScenesConfig)

    return run


@pytest.fixture
def archives(tmp_path):
    for name in ("ibrnet_collected", "real_iconic_noface"):
        publish_archive(tmp_path / "archives", name)


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_reads_its_section_after_a_preset(apply, params, archives, name):
    apply(name)
    for section, form in SECTIONS.items():
        load_section(params, section, form)
    assert yaml.safe_load(params.read_text())["teacher"]["name"] in TEACHERS


def test_the_paper_learns_from_three_sets_and_is_tested_on_twelve_scenes(apply, archives):
    scenes = apply("paper")
    expected = ["ibrnet1_a_b", "ibrnet1_qq1", "ibrnet2_qq1", "ibrnet2_zc2", "data1_one"]
    assert scenes.train == expected
    assert scenes.test == [*sorted(NERF), *sorted(SEGMENTATION)]
    assert not EXCLUDED & set(scenes.all_scenes)


def test_the_paper_needs_no_archive_once_its_scenes_are_locked(apply, archives, tmp_path):
    before = apply("paper")
    for path in (tmp_path / "archives").iterdir():
        path.unlink()
    assert apply("paper") == before


def test_without_archives_the_paper_says_what_to_get_and_changes_nothing(apply, params):
    before = params.read_bytes()
    with pytest.raises(FileNotFoundError) as caught:
        apply("paper")
    assert "ibrnet_collected.zip (about 4.1 GB)" in str(caught.value)
    assert "real_iconic_noface.zip (about 6.6 GB)" in str(caught.value)
    assert params.read_bytes() == before


def test_llff_tests_what_there_is_and_trains_nothing_again(apply, params):
    before = yaml.safe_load(params.read_text())
    scenes = apply("llff")
    after = yaml.safe_load(params.read_text())
    assert scenes.test == sorted(NERF)
    assert scenes.train == before["scenes"]["train"]
    assert after["fetch"] == before["fetch"] | {"source": "archives"}
    trained = ("teacher", "prepare", "extract", "reduce", "pretrain", "distill")
    assert {name: after[name] for name in trained} == {name: before[name] for name in trained}


def test_only_lines_of_the_preset_change_and_comments_stay(apply, params):
    def lines():  # less blanks before comments, and null, which may be left out
        return [re.sub(r"( null)? *#", " #", line) for line in params.read_text().splitlines()]

    before = lines()
    apply("llff")
    after = lines()
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert "+   test: [fern, flower, fortress, horns, leaves, orchids, room, trex]" in changed
    assert "+   source: archives" in changed
    assert len(changed) == 6  # test, source and frames, each out and in
    comments = [line.partition("#")[2] for line in before if "#" in line]
    assert all(any(comment in line for line in after) for comment in comments)


def test_an_unknown_preset_is_told_with_those_that_are_there(apply):
    with pytest.raises(ValueError, match=r"unknown preset 'papre'; known: captures_cpu, .*paper"):
        apply("papre")


def test_both_drive_files_of_the_collected_and_the_iconic_scenes_are_sources():
    places = load_section(ROOT / "params.yaml", "fetch", FetchConfig).archives
    assert places == {
        "ibrnet_collected": [
            "drive:1rkzl3ecL3H0Xxf5WTyc2Swv30RIyr1R_",
            "drive:1dZZChihfSt9iIzcQICojLziPvX1vejkp",
        ],
        "real_iconic_noface": [
            "drive:1ThgjloNt58ZdnEuiCeRf9tATJ-HI0b01",
            "drive:1m6AaHg-NEH3VW3t0Zk9E9WcNp4ZPNopl",
        ],
        "nerf_llff_data": ["drive:16VnMcF1KJYxN9QId6TClMsZRahHNMW5g"],
    }
