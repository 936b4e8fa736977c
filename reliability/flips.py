"""Damage at rest: one flipped bit in a file that a stage made, or that it reads."""

import random
from pathlib import Path

from reliability.child import Run
from reliability.kinds import Extent, some
from reliability.lab import IDENTICAL, STOPPED, Failure, Lab, Try
from reliability.project import Stage
from reliability.states import States
from reliability.trees import changed_files, copy_to, differences, digest_of

VERIFIED = ("data/features", "data/targets")


def plan_outputs(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Draw bits of the files that a stage makes."""
    undisturbed = states.of(stage, start)
    made = changed_files(undisturbed.before, undisturbed.after)
    return draw_flips(undisturbed.end, made, extent, draw)


def plan_inputs(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Draw bits of the files that a stage reads, and that others made."""
    undisturbed, graph = states.of(stage, start), states.graph
    names = [
        name
        for name in undisturbed.before
        if name[-1] != "/"
        and any(Path(name).is_relative_to(dep) for dep in stage.reads)
        and graph.maker_of(Path(name))
    ]
    return draw_flips(undisturbed.start, names, extent, draw)


def plan_verified(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Draw bits of the files that `python -m gsn.features verify` answers for."""
    undisturbed = states.of(stage, start)
    made = changed_files(undisturbed.before, undisturbed.after)
    names = [name for name in made if name.startswith(VERIFIED)]
    return draw_flips(undisturbed.end, names, extent, draw)


def draw_flips(folder: Path, names: list[str], extent: Extent, draw: random.Random) -> list[str]:
    """Draw a byte and a bit of it, several times for each file."""
    sizes = {name: (folder / name).stat().st_size for name in names}
    return [
        f"{name}:{draw.randrange(sizes[name])}:{draw.randrange(8)}"
        for name in some([name for name in names if sizes[name]], extent.files, draw)
        for _ in range(extent.flips)
    ]


def flip(folder: Path, value: str) -> str:
    """Flip a bit of a file; return the name of the file."""
    name, byte, bit = value.rsplit(":", 2)
    content = bytearray((folder / name).read_bytes())
    content[int(byte)] ^= 1 << int(bit)
    (folder / name).write_bytes(content)
    return name


def rerun_on_flipped(lab: Lab, one: Try) -> str:
    """Damage what a stage has made and run it again."""
    stage = lab.stage_of(one)
    undisturbed = lab.states.of(stage, one.start)
    copy_to(undisturbed.end, lab.place)
    flip(lab.place, one.value)
    return lab.rerun(stage, lab.place, undisturbed.after)


def read_flipped(lab: Lab, one: Try) -> str:
    """Damage what a stage reads: it must not matter, or the message says what mends it."""
    stage, undisturbed = lab.stage_of(one), lab.begin(one)
    name = flip(lab.place, one.value)
    ended = Run(lab.place, stage).wait()
    if ended.finished:
        wrong = differences(digest_of(lab.place), undisturbed.after)
        if wrong := [fault for fault in wrong if not fault.startswith(f"{name} ")]:
            raise Failure(f"{stage.name} takes it for good: {wrong[0]}")
        return IDENTICAL
    if "Traceback" in ended.said:
        raise Failure(f"a traceback: {ended.last_words}")
    if name not in ended.said:
        raise Failure(f"the message does not name {name}: {ended.last_words}")
    lab.mend(ended, lab.place)
    lab.rerun(stage, lab.place, undisturbed.after)
    return STOPPED


def verify_flipped(lab: Lab, one: Try) -> str:
    """Damage a file of features: `verify` must find it, and no other."""
    undisturbed = lab.states.of(lab.stage_of(one), one.start)
    copy_to(undisturbed.end, lab.place)
    name = flip(lab.place, one.value)
    folder = next(folder for folder in VERIFIED if name.startswith(folder))
    verify = Stage("verify", "gsn.features.__main__", ("verify", folder), (), (), ())
    ended = Run(lab.place, verify).wait()
    if ended.status != 1 or "1 damaged file" not in ended.last_words:
        raise Failure(f"verify ends with {ended.status}: {ended.last_words}")
    if name not in ended.said:
        raise Failure(f"verify does not name {name}")
    return STOPPED
