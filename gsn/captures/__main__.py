"""Command line: `python -m gsn.captures check FOLDER`, and `scan FOLDER` for params.yaml."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from gsn.captures.check.check_capture import (
    SceneReport,
    check_capture,
    count_photographs,
    find_captures,
)
from gsn.captures.check.scan import section_text, select, split_scenes, write_section
from gsn.captures.check.table import printable, reasons, table
from gsn.captures.check.verdict import Verdict

# Of a thread for each photograph of 500 pixels, and of 1000 or more; on a server.
SECONDS_SMALL, SECONDS_LARGE = 0.15, 0.6

Folder = Annotated[Path, typer.Argument(help="A capture, or a folder of captures.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads.")]
DEFAULT_THREADS = os.cpu_count() or 1

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Captures: photographs of scenes with cameras, as you have them."""


@app.command()
def check(folder: Folder, threads: Threads = DEFAULT_THREADS) -> None:
    """Print a table: what each capture is, how far its cameras can be trusted, a verdict.

    Sizes, focal lengths and errors are those of photographs with a long side of at most 1024
    pixels; depths are in units of the scene as it is prepared; the baseline is the distance of
    neighbouring cameras over the nearest depth. Ends with 1 if a capture is unusable.
    """
    with _faults_told():
        reports = _check_all(folder, threads)
        for line in table(reports):
            typer.echo(line)
    if any(report.verdict is Verdict.UNUSABLE for report in reports):
        raise typer.Exit(1)


@app.command()
def scan(
    folder: Folder,
    every: Annotated[int, typer.Option(help="Every n-th capture is for the test.")] = 8,
    test: Annotated[
        list[str] | None, typer.Option(help="Capture for the test, may be repeated.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Settings file to put the section into.")
    ] = None,
    threads: Threads = DEFAULT_THREADS,
) -> None:
    """Print the section `scenes` for params.yaml, or write it there.

    Captures that are unusable, or whose names no scene can have, are left out and named.
    """
    with _faults_told():
        reports = _check_all(folder, threads)
        selection = select(reports)
        for name, reason in selection.skipped.items():
            _say(f"left out: {name}: {reason}")
        for report in reports:
            if report.verdict is Verdict.DOUBTFUL and report.name in selection.names:
                _say(f"{report.name}: {reasons(report)}")
        split = split_scenes(selection.names, every, test or ())
        if write is None:
            typer.echo(section_text(split), nl=False)
        else:
            write_section(write, split)
        _say(
            f"{len(split.train)} scenes to learn from, {len(split.test)} for the test, "
            f"{len(selection.skipped)} captures left out{f', in {write}' if write else ''}. Scenes "
            "of one place belong on one side. They are read where `fetch.source` is folder and "
            f"`fetch.path` is {reports[0].folder.parent}."
        )


def _check_all(folder: Path, n_threads: int) -> list[SceneReport]:
    """Check each capture in a folder; the cost is said first."""
    if folder.is_dir() and folder.name in ("", ".."):  # a capture is called as its folder
        folder = folder.resolve()
    found = find_captures(folder)
    if found.others:
        names = ", ".join(path.name for path in found.others)
        _say(f"neither photographs nor cameras in: {names}")
    counts = [count_photographs(capture) for capture in found.captures]
    small, large = (
        _duration(seconds * sum(counts) / n_threads) for seconds in (SECONDS_SMALL, SECONDS_LARGE)
    )
    _say(
        f"captures: {len(counts)}, image files: {sum(counts)}, threads: {n_threads}: about {small} "
        f"at 500 pixels, {large} at 1000 or more"
    )
    reports = []
    with tqdm(total=sum(counts), unit="image", desc="check") as progress:
        for capture, count in zip(found.captures, counts, strict=True):
            progress.set_postfix_str(printable(capture.name))
            reports.append(check_capture(capture, n_threads))
            progress.update(count)
    return reports


def _say(text: str) -> None:
    """Show a line beside the result."""
    typer.echo(printable(text), err=True)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} s"


@contextmanager
def _faults_told() -> Generator[None, None, None]:
    """Tell a user's mistake in one line, and end with 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        _say(str(error))
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
