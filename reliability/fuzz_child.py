"""One child process that feeds inputs to one reader, and its watcher."""

import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from gsn.captures.image_structure import MEGAPIXELS_VARIABLE
from reliability.fuzz_corpus import FINDING
from reliability.fuzz_lines import led_by_lines
from reliability.fuzz_tester import Blackboard, Found, Tester
from reliability.mutate import LONGEST, mutate

HANG_SECONDS = 20.0
MEMORY_BYTES = 1 << 30  # that a child may take beyond what it begins with
MOST_LIVE = 400  # inputs that are mutated further
SMALL_MEGAPIXELS = "1"  # so that a picture takes milliseconds


@dataclass
class Report:
    """What was done to one target."""

    name: str
    n_runs: int = 0
    n_taken: int = 0
    seconds: float = 0.0
    n_kept: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Count what a child did."""
        self.n_runs += found.n_runs
        self.n_taken += found.n_taken
        self.seconds += found.seconds


def fuzz_in_child(
    name: str, kept: Sequence[bytes], known: set[str], seconds: float, seed: int, atheris: bool
) -> Found:
    """Fuzz a target in a process of its own, until the time is over or the process ends."""
    board = Blackboard()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="fuzz_", dir=_memory_disk()) as folder:
        tester = Tester(name, Path(folder) / "place", known, board)
        loop: Loop = led_by_lines if atheris else _led_by_outcomes
        child = context.Process(
            target=_child, args=(loop, tester, list(kept), seconds, seed, theirs), daemon=True
        )
        started = time.monotonic()
        child.start()
        theirs.close()
        fault = _watch(child.pid or 0, ours, board)
        found = Found(n_runs=board.n_runs)
        if fault is None:
            try:
                found = ours.recv()
            except EOFError:
                child.join()
                fault = f"process ended with {child.exitcode}"
        if fault is not None:
            found.new = {f"{FINDING}{fault}": board.data}
        child.join()
        found.seconds = time.monotonic() - started
    return found


def _memory_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _watch(pid: int, ours: Connection, board: Blackboard) -> str | None:
    """Wait for the child's answer; kill it if it stays at one input."""
    last, since = board.n_runs, time.monotonic()
    while not ours.poll(0.5):
        if board.n_runs != last:
            last, since = board.n_runs, time.monotonic()
        elif time.monotonic() - since > HANG_SECONDS:
            os.kill(pid, signal.SIGKILL)
            return "hangs"
    return None


# What tries inputs until the time is over, and calls the last argument then.
Loop = Callable[[Tester, list[bytes], float, random.Random, Callable[[], None]], None]


def _child(
    loop: Loop,
    tester: Tester,
    kept: list[bytes],
    seconds: float,
    seed: int,
    theirs: Connection,
) -> None:
    os.environ[MEGAPIXELS_VARIABLE] = SMALL_MEGAPIXELS
    _silence()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def finish() -> None:
        theirs.send(tester.found)
        os._exit(0)

    loop(tester, kept, seconds, random.Random(seed), finish)


def _silence() -> None:
    """Let libpng and libjpeg complain elsewhere: they write to the descriptor."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _led_by_outcomes(
    tester: Tester,
    kept: list[bytes],
    seconds: float,
    draw: random.Random,
    finish: Callable[[], None],
) -> None:
    """Mutate inputs at random; those with a new outcome are mutated further."""
    ends = time.monotonic() + seconds
    live = [*tester.target.seeds(), *kept]
    for data in live:
        tester(data)
    n_first = len(live)
    whole = tester.target.seeds()
    while time.monotonic() < ends:
        # Every other time a whole file: what is refused early never reaches what comes late.
        data = mutate(draw.choice(whole if draw.random() < 0.5 else live), live, draw)
        if tester(data) and len(data) <= LONGEST:
            if len(live) >= MOST_LIVE:  # the files to begin with stay
                del live[draw.randrange(n_first, len(live))]
            live.append(data)
    finish()
