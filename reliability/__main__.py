"""Try the stages with faults and write what came of it: python -m reliability."""

import logging
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from gsn.atomic import complete_or_absent
from pipeline.command import run_stage
from reliability.child import import_all
from reliability.lab import FAILED, Try, Verdict
from reliability.labs import Labs, in_own_lab
from reliability.plan import FULL, KINDS, SHORT, plan, thin, try_named
from reliability.project import ROOT, read_graph
from reliability.report import Facts, code_sha256, expected_minutes, render_report

log = logging.getLogger("reliability")
LONGEST = 300  # characters of a reason on the screen
REPORT = ROOT / "docs" / "reliability.md"


def main(
    stage: Annotated[list[str] | None, typer.Option(help="Stages to try; all if none.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Faults to try; all if none.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Single tries, by name.")] = None,
    short: Annotated[bool, typer.Option(help="A few tries of each kind: two minutes.")] = False,
    share: Annotated[
        float, typer.Option(help="Of the tries, drawn at random; all kills at random moments.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of moments, bytes and sizes.")] = 0,
    table: Annotated[Path | None, typer.Option(help="File to write.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Tries at once; one a core if none.")] = None,
    work: Annotated[Path | None, typer.Option(help="Folder to work in; else a new one.")] = None,
) -> None:
    """Kill, starve and damage every stage on a tiny project; see whether it recovers."""
    graph = read_graph()
    stages = pick(stage, list(graph.by_name), "stage")
    kinds = pick(fault, list(KINDS), "fault")
    started, code = time.monotonic(), code_sha256()
    log.info("seed %d; importing, and running every stage undisturbed", seed)
    import_all(list(graph.stages))
    with tempfile.TemporaryDirectory(prefix="reliability_", dir=work) as folder:
        labs = Labs(Path(folder), graph, jobs or os.cpu_count() or 1)
        for one in graph.stages:
            labs.states.make(one)
        tries = plan(labs.states, labs.has_disk, stages, kinds, SHORT if short else FULL, seed)
        n_planned, tries = len(tries), thin(tries, share, seed)
        if only:
            tries = [try_named(name, graph) for name in only]
            n_planned = len(tries)
        minutes = expected_minutes(labs.states, tries) / labs.jobs
        log.info("%d tries, about %.0f minutes, %d at once", len(tries), minutes, labs.jobs)
        verdicts = carry_out_all(labs, tries)
    if code_sha256() != code:
        raise ValueError("the code changed while it was tried: the results count for nothing")
    facts = Facts(seed, (time.monotonic() - started) / 60, labs.has_disk, n_planned, share)
    path = table or (None if only or short or stage or fault else REPORT)
    text = render_report(verdicts, facts)
    if path is not None:
        with complete_or_absent(path) as partial:
            partial.write_text(text, encoding="utf-8")
        log.info("written: %s", path)
    typer.echo(text)
    n_failed = sum(verdict.outcome == FAILED for _, verdict in verdicts)
    if n_failed:
        raise ValueError(f"{n_failed} of {len(verdicts)} tries failed; each is named above")


def carry_out_all(labs: Labs, tries: list[Try]) -> list[tuple[Try, Verdict]]:
    """Make all tries, and tell of those that fail at once."""
    verdicts = []
    outcomes: Counter[str] = Counter()
    with labs.workers() as pool, tqdm(total=len(tries), unit="try") as progress:
        for one, verdict in zip(tries, pool.imap(in_own_lab, tries), strict=True):
            verdicts.append((one, verdict))
            outcomes[verdict.outcome] += 1
            progress.set_description(f"{one.fault}, {one.stage}", refresh=False)
            progress.set_postfix(outcomes, refresh=False)
            progress.update()
            if verdict.outcome == FAILED:
                progress.write(f"FAILED {one.name!r}: {verdict.reason[:LONGEST]}")
    return verdicts


def pick(names: list[str] | None, known: list[str], what: str) -> list[str]:
    """Return the names that are asked for, or all.

    Raises:
        ValueError: One is unknown.
    """
    if unknown := sorted(set(names or []) - set(known)):
        raise ValueError(f"unknown {what} {unknown[0]!r}; known: {', '.join(known)}")
    return names or known


if __name__ == "__main__":
    run_stage(main)
