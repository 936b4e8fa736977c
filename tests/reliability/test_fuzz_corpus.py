"""Every input that the fuzz run kept gives a result or a documented error, at once."""

import time
from pathlib import Path

import pytest

from gsn.captures.image_structure import MEGAPIXELS_VARIABLE
from reliability.fuzz_child import SMALL_MEGAPIXELS
from reliability.fuzz_corpus import Corpus
from reliability.fuzz_targets import DOCUMENTED, TARGETS, empty
from reliability.fuzz_tester import SLOW_SECONDS

FOLDER = Path(__file__).parents[1] / "fuzz_corpus"


def test_every_target_has_a_corpus_and_every_corpus_a_target():
    assert {path.stem for path in FOLDER.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_are_taken_or_refused(name, tmp_path, monkeypatch):
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, SMALL_MEGAPIXELS)
    target, inputs = TARGETS[name], Corpus(FOLDER, name).inputs
    assert inputs
    empty(tmp_path / "place")
    for data in inputs:
        started = time.monotonic()
        try:
            target.run(data, tmp_path / "place")
        except DOCUMENTED as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 4000
        assert time.monotonic() - started < 5 * SLOW_SECONDS


@pytest.mark.parametrize("name", TARGETS)
def test_the_first_seed_is_a_file_as_it_should_be(name, tmp_path):
    empty(tmp_path / "place")
    TARGETS[name].run(TARGETS[name].seeds()[0], tmp_path / "place")
