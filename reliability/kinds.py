"""Faults while a stage works: which tries there are of each kind, and how one is made."""

import random
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass

from reliability.child import Ended, Run
from reliability.disk import PLENTY, resize, size_on_disk
from reliability.faults import LARGEST_PIECE, Fault
from reliability.lab import Failure, Lab, Try
from reliability.project import Stage
from reliability.states import States
from reliability.trees import changed_files, changed_folders

NO_WRITING = stat.S_IRUSR | stat.S_IXUSR
ALL = stat.S_IRWXU
A_FILE = re.compile(r"\b(data|models|reports)(/|'|$)")  # of the project


@dataclass(frozen=True)
class Extent:
    """How many tries there are of each kind, for a stage and a start; None: all."""

    both_starts: bool  # or one that is drawn
    moments: int
    events: int | None
    disks: int
    folders: int | None
    files: int | None  # of those that a bit is flipped in
    flips: int  # in each of them
    pairs: int
    processes: bool  # whether stages also run in processes of their own


# Lists what tells the tries of a kind apart; the name of a try ends with it.
Planner = Callable[[States, Stage, str, Extent, random.Random], list[str]]
Runner = Callable[[Lab, Try], str]  # makes a try and returns its outcome, or raises Failure


def some(values: list[str], count: int | None, draw: random.Random) -> list[str]:
    """Return so many of the values, or all."""
    return values if count is None else draw.sample(values, min(count, len(values)))


def plan_moments(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Draw moments, as shares of the time that an undisturbed run takes."""
    return [f"{draw.random():.4f}" for _ in range(extent.moments)]


def kill_at_moment(lab: Lab, one: Try) -> str:
    """Kill a stage."""
    seconds = lab.begin(one).ended.seconds
    return lab.judge(one, Run(lab.place, lab.stage_of(one)).wait(float(one.value) * seconds))


def plan_events(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Number the events of an undisturbed run."""
    n_events = states.of(stage, start).ended.n_events
    return some([f"{k}:0" for k in range(1, n_events + 1)], extent.events, draw)


def plan_pieces(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Number the events that bytes can follow; how far a file may then grow is drawn."""
    events = states.of(stage, start).ended.before_bytes
    values = [f"{k}:{draw.randrange(LARGEST_PIECE)}" for k in events]
    return some(values, extent.events, draw)


def fail_at_event(lab: Lab, one: Try) -> str:
    """Let a write go wrong."""
    lab.begin(one)
    event, piece = map(int, one.value.split(":"))
    fault = Fault(one.fault, event, piece)
    return lab.judge(one, Run(lab.place, lab.stage_of(one), fault).wait())


def plan_disks(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Choose how much room there is, as shares of what the stage writes."""
    return [f"{(k + draw.random()) / extent.disks:.4f}" for k in range(extent.disks)]


def fill_disk(lab: Lab, one: Try) -> str:
    """Run a stage on a disk that is too small, then again on a large one."""
    if lab.disk is None:
        raise ValueError(f"{one.name}: mounting is not allowed")
    resize(lab.disk, PLENTY)
    undisturbed = lab.begin(one, lab.disk)
    made = changed_files(undisturbed.before, undisturbed.after)
    resize(lab.disk, int(float(one.value) * size_on_disk(undisturbed.end, made)))
    ended = Run(lab.disk, lab.stage_of(one)).wait()
    resize(lab.disk, PLENTY)
    check_names_a_file(ended)
    return lab.judge(one, ended, lab.disk)


def plan_folders(
    states: States, stage: Stage, start: str, extent: Extent, draw: random.Random
) -> list[str]:
    """Name the folders in which a stage changes something."""
    undisturbed = states.of(stage, start)
    return some(changed_folders(undisturbed.before, undisturbed.after), extent.folders, draw)


def forbid_writing(lab: Lab, one: Try) -> str:
    """Run a stage that may not write into a folder, then allow it."""
    lab.begin(one)
    folder = lab.place / one.value
    folder.chmod(NO_WRITING)
    ended = Run(lab.place, lab.stage_of(one), privileged=False).wait()
    for path in (folder, *folder.parent.glob(f"{folder.name}*")):  # it may have been renamed
        if path.is_dir():
            path.chmod(ALL)
    check_names_a_file(ended)
    return lab.judge(one, ended)


def check_names_a_file(ended: Ended) -> None:
    """See to it that a run that ended by itself said which file was the matter.

    Raises:
        Failure: The last line names none of the project.
    """
    if ended.status > 0 and not A_FILE.search(ended.last_words):
        raise Failure(f"the message names no file: {ended.last_words}")
