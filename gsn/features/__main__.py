"""Command line: `python -m gsn.features verify DIR` finds every damaged file below a folder."""

import time
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from gsn.features.verify import Fault, Inventory, take_inventory, verify

SHOWN = 5  # names of files that were not looked at

app = typer.Typer(add_completion=False, no_args_is_help=True)


def report(inventory: Inventory, faults: list[Fault], seconds: float) -> list[str]:
    """Return a line for each damaged file, and a summary."""
    lines = [f"{fault.path}: {fault.what}; to mend: {fault.remedy}" for fault in faults]
    others = inventory.others
    if others:
        names = ", ".join(map(str, others[:SHOWN])) + (", ..." if len(others) > SHOWN else "")
        lines.append(f"not looked at, no files of features: {len(others)} ({names})")
    if inventory.unfinished:
        n_unfinished = len(inventory.unfinished)
        lines.append(f"not looked at, unfinished: {n_unfinished} (the next run checks them)")
    megabytes = inventory.n_bytes / 1e6
    verdict = f"{len(faults)} damaged file{'s' * (len(faults) > 1)}" if faults else "no damage"
    lines.append(
        f"{verdict} in {len(inventory.stores)} stores and {len(inventory.sealed)} bases and "
        f"prompts: {megabytes:.1f} MB in {seconds:.1f} s, {megabytes / max(seconds, 1e-9):.0f} MB/s"
    )
    return lines


@app.callback()
def main() -> None:
    """Feature maps, targets and what belongs to them."""


@app.command("verify")
def print_report(
    folder: Annotated[Path, typer.Argument(help="A store, or any folder that stores lie below.")],
) -> None:
    """Read every file and compare its checksum; exit with 1 if one is damaged."""
    started = time.monotonic()
    try:
        inventory = take_inventory(folder)
        with tqdm(total=inventory.n_bytes, unit="B", unit_scale=True, desc="verify") as progress:
            faults = verify(inventory, progress.update)
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    for line in report(inventory, faults, time.monotonic() - started):
        typer.echo(line)
    if faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
