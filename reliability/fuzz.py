"""Feed damaged files to the readers of captures and settings: python -m reliability.fuzz.

Every input must give a result or the error that the reader documents, within seconds and a bounded
memory; anything else is a finding. Inputs start from files that are as they should be
(`reliability.fuzz_seeds`) and from the kept corpus, and are mutated; one with an outcome not seen
before is mutated further, and kept. With `--engine atheris` the mutations are those of libFuzzer,
led by the lines that run; install it by hand.

Each reader runs in a child process with a limit on memory, watched by this one, so that a hang or a
crash of a library costs one input. Findings stay in the corpus, where tests/test_fuzz_corpus.py
repeats them.
"""

import logging
import random
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from pipeline.command import run_stage
from reliability.fuzz_child import Report, fuzz_in_child
from reliability.fuzz_corpus import CORPUS, FINDING, Corpus
from reliability.fuzz_targets import TARGETS
from reliability.project import ROOT

log = logging.getLogger("reliability.fuzz")


class Engine(StrEnum):
    """Where mutations come from."""

    own = "own"
    atheris = "atheris"


def main(
    minutes: Annotated[float, typer.Option(help="In all, shared out among the targets.")] = 10.0,
    target: Annotated[list[str] | None, typer.Option(help="Readers to fuzz; all if none.")] = None,
    seed: Annotated[int, typer.Option(help="Of the mutations.")] = 0,
    engine: Annotated[Engine, typer.Option(help="Where mutations come from.")] = Engine.own,
    corpus: Annotated[Path, typer.Option(help="Folder of kept inputs.")] = ROOT / CORPUS,
) -> None:
    """Fuzz the readers and say what was found."""
    names = target or list(TARGETS)
    if unknown := sorted(set(names) - set(TARGETS)):
        raise ValueError(f"unknown target {unknown}; known: {', '.join(TARGETS)}")
    seconds = 60 * minutes / len(names)
    log.info("seed %d: %d targets, %.0f s each, on one core", seed, len(names), seconds)
    reports = []
    with tqdm(names, unit="target") as progress:
        for name in progress:
            progress.set_description(name)
            report = fuzz_one(name, corpus, seconds, seed, engine == Engine.atheris)
            reports.append(report)
            for finding in report.findings:
                progress.write(f"{name}: {finding}")
    typer.echo(table_of(reports))
    n_findings = sum(len(report.findings) for report in reports)
    if n_findings:
        raise ValueError(f"{n_findings} findings, kept in {corpus}")


def fuzz_one(name: str, folder: Path, seconds: float, seed: int, atheris: bool) -> Report:
    """Fuzz one target and keep what showed a new outcome.

    A child that hangs or crashes is replaced until the time is over.
    """
    corpus = Corpus(folder, name)
    report = Report(name)
    draw = random.Random(f"{seed}/{name}")
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        known = set(corpus.outcomes)
        found = fuzz_in_child(name, corpus.inputs, known, left, draw.getrandbits(32), atheris)
        report.add(found)
        for outcome, data in found.new.items():
            corpus.add(outcome, data)
            if outcome.startswith(FINDING):
                report.findings.append(outcome)
    corpus.save()
    report.n_kept = len(corpus.outcomes)
    return report


def table_of(reports: list[Report]) -> str:
    """Return the numbers of a run as Markdown."""
    lines = [
        "| reader | inputs | a second | taken | refused | outcomes kept | findings |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in reports:
        rate = one.n_runs / max(one.seconds, 1e-9)
        lines.append(
            f"| {one.name} | {one.n_runs:,} | {rate:,.0f} | {one.n_taken:,} | "
            f"{one.n_runs - one.n_taken:,} | {one.n_kept} | {len(one.findings)} |"
        )
    total, spent = sum(one.n_runs for one in reports), sum(one.seconds for one in reports)
    found = sum(len(one.findings) for one in reports)
    taken = sum(one.n_taken for one in reports)
    kept = sum(one.n_kept for one in reports)
    lines.append(
        f"| all, {spent / 60:.1f} minutes | {total:,} | {total / max(spent, 1e-9):,.0f} | "
        f"{taken:,} | {total - taken:,} | {kept} | {found} |"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    run_stage(main)
