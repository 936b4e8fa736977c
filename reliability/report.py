"""The table of all tries, and the facts that belong to it."""

import os
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.report import table
from gsn.fingerprint import sha256_of_file, sha256_of_settings
from pipeline.provenance import describe_commit, processor_name
from reliability.lab import FAILED, IDENTICAL, STOPPED, Try, Verdict
from reliability.plan import KINDS
from reliability.project import EARLIER, ROOT
from reliability.states import States
from reliability.trees import EXCEPTIONS

OUTCOMES = (IDENTICAL, STOPPED, FAILED)
HEAD = ("fault", "stage", "tried", *OUTCOMES)
INTRODUCTION = """# What faults leave behind

Made by `python -m reliability`. Every stage is run on a project of three tiny scenes, disturbed,
and run again: from nothing, and over what other settings made. *Finished identical*: every file
of the project then has the bytes that an undisturbed run gives it. *Stopped with message*: the
other run named the damaged file and the command that mends it, that command was run, and then the
bytes were the same. A traceback, another byte, a file left over, or a later stage that takes what
the fault left for finished, is a failure."""
EXPLANATION = f"""- **killed at a random moment**: SIGKILL after a random share of the run.
- **killed before a write**, **no space at a write**: at each file that is opened to be written,
  renamed, linked, synced or removed, and each folder that is made or removed, in turn: SIGKILL
  before it, or ENOSPC in its place.
- **killed within a write**, **writes cut short**: from each of these events on that bytes can
  follow, no file may grow beyond a random size of at most 4 KiB: SIGXFSZ kills the process within
  a write, be it of a library in C, or the write fails.
- **disk full**: the project lies on a tmpfs with room for a share of what the stage writes.
- **folder not writable**: each folder that the stage changes in turn, without root's rights.
- **flipped bit in output**: of a finished stage, which is then run again.
- **flipped bit in input**: of any file that the stage reads.
- **flipped bit, verify**: `python -m gsn.features verify` names the file.
- **two runs at once**: the second starts while the first works. One may be refused; the message
  must name the process of the other.
- **two dvc repro at once**: the same, with `dvc repro prepare`, which runs `fetch` before.
- **no fault, own process**: `python -m pipeline.<stage>` makes the bytes that all these runs are
  compared with; those are forked from a process that has imported the code.

Compared are all files but {EXCEPTIONS}.
What several faults leave alike is run again only once."""
N_SHOWN = 3  # failures of a row
SLOWDOWN = 1.3  # a try: half a run that is disturbed, one that is not, copies and hashes


@dataclass(frozen=True)
class Facts:
    """Where the numbers come from."""

    seed: int
    minutes: float
    has_disk: bool
    n_planned: int  # tries of a run that leaves none out
    share: float


def code_sha256() -> str:
    """Hash the code that is tried: stages hash it too, so it must stay as it is meanwhile."""
    files = [path for part in ("gsn", "pipeline") for path in (ROOT / part).rglob("*.py")]
    return sha256_of_settings({str(path): sha256_of_file(path) for path in sorted(files)})


def expected_minutes(states: States, tries: list[Try]) -> float:
    """Estimate what some tries cost, from the time of undisturbed runs."""
    runs = states.runs
    seconds = [runs[one.stage, one.start].ended.seconds for one in tries]
    return SLOWDOWN * sum(seconds) / 60


def render_report(verdicts: list[tuple[Try, Verdict]], facts: Facts) -> str:
    """Return the page: how it was measured, the table, and every failure with what repeats it."""
    today = datetime.now(UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores of {processor_name()}, Python {platform.python_version()}"
    no_disk = "" if facts.has_disk else " No disk was filled: mounting was not allowed."
    outcomes = Counter(verdict.outcome for _, verdict in verdicts)
    said = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in OUTCOMES)
    drawn = "" if len(verdicts) == facts.n_planned else f", drawn by `--share {facts.share}`"
    parts = [
        INTRODUCTION,
        f"{today}, commit {describe_commit()}, {machine}, seed {facts.seed}, "
        f"{facts.minutes:.0f} minutes, {len(verdicts)} of {facts.n_planned} tries{drawn}: "
        f"{said}.{no_disk}",
        table(HEAD, list(rows(verdicts))),
        EXPLANATION,
    ]
    if outcomes[FAILED]:
        parts += [
            "## Failures",
            f"`python -m reliability --seed {facts.seed} --only NAME` repeats one.",
        ]
        parts.append("\n".join(failures(verdicts)))
    return "\n\n".join(parts) + "\n"


def rows(verdicts: list[tuple[Try, Verdict]]) -> Iterator[list[str]]:
    """Count the outcomes of each fault and stage."""
    for fault in KINDS:
        for stage in EARLIER:
            found = Counter(v.outcome for o, v in verdicts if (o.fault, o.stage) == (fault, stage))
            if found:
                counts = [str(found[outcome]) for outcome in OUTCOMES]
                yield [fault, stage, str(found.total()), *counts]


def failures(verdicts: list[tuple[Try, Verdict]]) -> Iterator[str]:
    """Name the first failures of each fault and stage."""
    of_row: dict[tuple[str, str], list[str]] = {}
    for one, verdict in verdicts:
        if verdict.outcome == FAILED:
            line = f"- `{one.name}`: {verdict.reason}"
            of_row.setdefault((one.fault, one.stage), []).append(line)
    for (fault, stage), lines in of_row.items():
        yield from lines[:N_SHOWN]
        if len(lines) > N_SHOWN:
            yield f"- {len(lines) - N_SHOWN} more of {stage}, {fault}"
