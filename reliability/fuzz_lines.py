"""Mutations led by the lines that run: libFuzzer, by way of atheris."""

import random
import sys
import time
import types
from collections.abc import Callable

from reliability.fuzz_tester import Tester
from reliability.mutate import mutate

LONGEST = 4096  # bytes of an input: with every branch reported, long ones take seconds
OWN_SHARE = 0.5  # of mutations that know of numbers, words and checksums; the rest are libFuzzer's


def led_by_lines(
    tester: Tester,
    kept: list[bytes],
    seconds: float,
    draw: random.Random,
    finish: Callable[[], None],
) -> None:
    """Fuzz until the time is over; libFuzzer never returns, so `finish` ends the process."""
    import atheris

    ends = time.monotonic() + seconds
    first = [*tester.target.seeds(), *kept]
    _instrument(atheris)
    seeds = tester.place.parent / "seeds"
    seeds.mkdir()
    for k, data in enumerate(first):
        (seeds / str(k)).write_bytes(data)

    def test_one(data: bytes) -> None:
        if time.monotonic() > ends:
            finish()
        tester(data)

    def change(data: bytes, most: int, seed: int) -> bytes:
        own = random.Random(seed)
        if own.random() < OWN_SHARE:
            return mutate(data, first, own)[:most]
        return bytes(atheris.Mutate(data, most))

    options = [f"-seed={draw.getrandbits(31)}", f"-max_len={LONGEST}", "-rss_limit_mb=0"]
    options += ["-timeout=600", "-len_control=0", f"-artifact_prefix={tester.place}/"]
    atheris.Setup(["fuzz", *options, str(seeds)], test_one, custom_mutator=change)
    atheris.Fuzz()


def _instrument(atheris: types.ModuleType) -> None:
    """Let the functions of the readers report their branches."""
    for name, module in list(sys.modules.items()):
        # Not PyYAML, which then takes seconds for what takes it a tenth of one.
        if not name.startswith(("gsn.", "pipeline.config", "json.", "numpy.lib")):
            continue
        for value in list(vars(module).values()):
            holders = vars(value).values() if isinstance(value, type) else [value]
            for function in holders:
                if isinstance(function, types.FunctionType) and function.__module__ == name:
                    atheris.instrument_func(function)
