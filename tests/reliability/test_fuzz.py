"""The fuzz run finds what it is there to find."""

import os
import random
import time
import zlib

import pytest

from gsn.captures.capture import CaptureError
from reliability import fuzz_child
from reliability.fuzz import fuzz_one, table_of
from reliability.fuzz_corpus import Corpus, outcome_of
from reliability.fuzz_seeds import pngs
from reliability.fuzz_targets import TARGETS, Target
from reliability.mutate import MUTATIONS, mutate, with_checksums


def sound(data):
    if len(data) % 2:
        raise CaptureError(f"file: {len(data)} bytes")
    return data


def faulty(data):
    raise KeyError(data[:1])


def hanging(data):
    while True:
        time.sleep(1)


def greedy(data):
    return bytearray(3 << 30)


def crashing(data):
    os._exit(3)


@pytest.fixture
def fuzz(monkeypatch, tmp_path):
    monkeypatch.setattr(fuzz_child, "HANG_SECONDS", 1.0)

    def run(function, seconds=0.5):
        target = Target(lambda: [b"some bytes"], lambda data, _: function(data))
        monkeypatch.setitem(TARGETS, "mine", target)
        return fuzz_one("mine", tmp_path, seconds, seed=0, atheris=False)

    return run


@pytest.mark.parametrize(
    ("function", "finding"),
    [
        (faulty, "FINDING KeyError"),
        (greedy, "FINDING MemoryError"),
        (hanging, "FINDING hangs"),
        (crashing, "FINDING process ended with 3"),
    ],
)
def test_a_fault_of_a_reader_is_found_and_its_input_kept(fuzz, tmp_path, function, finding):
    report = fuzz(function)
    assert any(found.startswith(finding) for found in report.findings)
    assert b"some bytes" in Corpus(tmp_path, "mine").inputs
    assert f"| mine | {report.n_runs:,} |" in table_of([report])


def test_a_reader_that_raises_what_it_says_has_no_findings(fuzz, tmp_path):
    report = fuzz(sound)
    assert report.findings == []
    assert 0 < report.n_taken < report.n_runs
    assert set(Corpus(tmp_path, "mine").outcomes) == {"taken", "CaptureError: file: # bytes"}


def test_the_same_seed_makes_the_same_mutations():
    def first(seed):
        draw = random.Random(seed)
        return [mutate(b"1 2 3 some text", [b"other"], draw) for _ in range(50)]

    assert first(1) == first(1) != first(2)


@pytest.mark.parametrize("change", MUTATIONS)
def test_every_mutation_takes_an_empty_file(change):
    assert isinstance(bytes(change(bytearray(), [b""], random.Random(0))), bytes)


def test_checksums_of_a_changed_png_are_mended():
    data = bytearray(pngs()[0])
    data[17] ^= 1  # the width
    mended = with_checksums(bytes(data))
    assert mended[29:33] == zlib.crc32(data[12:29]).to_bytes(4, "big") != data[29:33]
    assert with_checksums(pngs()[0]) == pngs()[0]


def test_outcomes_of_inputs_alike_are_one():
    def text(number):
        return outcome_of(CaptureError(f"/a/{number}/x.npy: {number} rows, got 'name{number}'"))

    assert text(3) == text(77.5) == "CaptureError: PATH # rows, got *"
    assert outcome_of(None) == "taken"
