"""All kinds of faults, and the tries that are made of them."""

import random
from dataclasses import dataclass

from reliability import flips, kinds, pairs
from reliability.faults import KINDS as WRITE_FAULTS
from reliability.faults import WITHIN
from reliability.kinds import Extent, Planner, Runner
from reliability.lab import FAILED, Failure, Lab, Try, Verdict
from reliability.project import Graph
from reliability.states import FRESH, STARTS, States


@dataclass(frozen=True)
class Kind:
    """A row of the table, for each stage."""

    planner: Planner
    runner: Runner
    starts: tuple[str, ...] = STARTS


FULL = Extent(
    both_starts=True,
    moments=12,
    events=None,
    disks=8,
    folders=None,
    files=24,
    flips=2,
    pairs=3,
    processes=True,
)
SHORT = Extent(
    both_starts=False,
    moments=1,
    events=1,
    disks=1,
    folders=1,
    files=1,
    flips=1,
    pairs=1,
    processes=False,
)
KILLED, DISK_FULL = "killed at a random moment", "disk full"
KINDS = {
    KILLED: Kind(kinds.plan_moments, kinds.kill_at_moment),
    **{
        name: Kind(kinds.plan_pieces if name in WITHIN else kinds.plan_events, kinds.fail_at_event)
        for name in WRITE_FAULTS
    },
    DISK_FULL: Kind(kinds.plan_disks, kinds.fill_disk),
    "folder not writable": Kind(kinds.plan_folders, kinds.forbid_writing),
    "flipped bit in output": Kind(flips.plan_outputs, flips.rerun_on_flipped, (FRESH,)),
    "flipped bit in input": Kind(flips.plan_inputs, flips.read_flipped, (FRESH,)),
    "flipped bit, verify": Kind(flips.plan_verified, flips.verify_flipped),
    "two runs at once": Kind(pairs.plan_pairs, pairs.run_two),
    "two dvc repro at once": Kind(pairs.plan_repros, pairs.repro_twice, (FRESH,)),
    "no fault, own process": Kind(pairs.plan_processes, pairs.run_alone),
}


def plan(
    states: States,
    has_disk: bool,
    stages: list[str],
    faults: list[str],
    extent: Extent,
    seed: int,
) -> list[Try]:
    """List all tries; equal arguments and equal undisturbed runs, equal tries."""
    tries = []
    for fault in faults:
        if fault == DISK_FULL and not has_disk:
            continue
        kind = KINDS[fault]
        for name in stages:
            stage = states.graph.by_name[name]
            draw = random.Random(f"{seed}/{fault}/{name}")
            starts = kind.starts if extent.both_starts else (draw.choice(kind.starts),)
            for start in starts:
                values = kind.planner(states, stage, start, extent, draw)
                tries += [Try(fault, name, start, value) for value in values]
    return tries


def thin(tries: list[Try], share: float, seed: int) -> list[Try]:
    """Draw a share of the tries of each fault, stage and start, one at least; all kills by chance.

    Raises:
        ValueError: The share is not within (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share}: expected more than 0 and at most 1")
    groups: dict[tuple[str, str, str], list[int]] = {}
    for k, one in enumerate(tries):
        groups.setdefault((one.fault, one.stage, one.start), []).append(k)
    kept: set[int] = set()
    for group, members in groups.items():
        count = len(members) if group[0] == KILLED else max(1, round(share * len(members)))
        kept.update(random.Random(f"{seed}/{group}").sample(members, count))
    return [tries[k] for k in sorted(kept)]


def try_named(name: str, graph: Graph) -> Try:
    """Return the try of a name.

    Raises:
        ValueError: There can be no such try.
    """
    parts = name.split("/", 3)
    if len(parts) != 4 or not (
        parts[0] in KINDS and parts[1] in graph.by_name and parts[2] in STARTS
    ):
        raise ValueError(f"no try {name!r}: expected FAULT/STAGE/{'|'.join(STARTS)}/VALUE")
    return Try(*parts)


def carry_out(lab: Lab, one: Try) -> Verdict:
    """Make one try."""
    try:
        return Verdict(KINDS[one.fault].runner(lab, one))
    except (Failure, TimeoutError) as failure:
        return Verdict(FAILED, str(failure))
