"""The command line of every stage: log, lock on what it writes, one line instead of a traceback."""

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gsn.lock import hold

PreparedFolder = Annotated[Path, typer.Argument(help="Folder of packs.")]
TargetsFolder = Annotated[Path, typer.Argument(help="Folder of targets and their PCA basis.")]
ParamsFile = Annotated[Path, typer.Option(help="Settings.")]
DeviceName = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ResidentBytes = Annotated[
    int | None,
    typer.Option(
        help="Most bytes of photographs and maps on the GPU, the rest stays on the host; "
        "left out: a share of what is free."
    ),
]
Kernels = Annotated[
    bool,
    typer.Option(
        help="Use the fused kernels where the device can run them. Renders that are kept stay."
    ),
]
DEFAULT_PARAMS = Path("params.yaml")
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
OUTPUTS = ("out", "curves")  # arguments of these names are files or folders that a stage writes

log = logging.getLogger(__name__)


def run_stage(main: Callable[..., None]) -> None:
    """Run `main` with the arguments of the command line; end the process with 1 if it fails.

    A wrong value or a missing file (`ValueError`, `OSError`) is the user's to mend and is told in
    one line; with GSN_TRACEBACK=1 in the environment the traceback comes as well. Any other
    exception is a fault of the program and keeps its traceback. A second run that would write the
    same output ends so at once, and names the first (`gsn.lock`). So does one that asks for more
    memory than there is.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        typer.run(_alone(main))
    except (ValueError, OSError) as error:
        _end(str(error))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not NO_MEMORY.search(str(error)):
            raise
        reason = str(error).splitlines()[:1] or ["not enough memory"]
        _end(f"{reason[0]}: make sizes or batches in params.yaml smaller")


def _end(message: str) -> NoReturn:
    log.error("%s", message, exc_info=os.environ.get("GSN_TRACEBACK") == "1")
    sys.exit(1)


def _alone(main: Callable[..., None]) -> Callable[..., None]:
    """Let `main` run only while no other process writes what it writes."""

    @wraps(main)
    def guarded(*args: object, **kwargs: object) -> None:
        given = inspect.signature(main).bind(*args, **kwargs).arguments
        with ExitStack() as stack:
            for name in OUTPUTS:
                if name in given:
                    stack.enter_context(hold(given[name]))
            main(*args, **kwargs)

    return guarded


@contextmanager
def remedy(what_to_do: str, *kinds: type[Exception]) -> Iterator[None]:
    """Add to the message of an error of these kinds what the user can do about it."""
    try:
        yield
    except kinds as error:
        raise type(error)(f"{error}: {what_to_do}") from error


@contextmanager
def mend(stage: str, *kinds: type[Exception]) -> Iterator[None]:
    """Add to the message of an error of these kinds which stage makes the file anew.

    The stage is forced: DVC takes a file for unchanged whose size and date are.
    """
    with remedy(f"run `dvc repro -f -s {stage}`", *kinds):
        yield
