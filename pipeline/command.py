"""The command line of every stage: logging, and one line instead of a traceback for a mistake."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

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

log = logging.getLogger(__name__)


def run_stage(main: Callable[..., None]) -> None:
    """Run `main` with the arguments of the command line; end the process with 1 if it fails.

    A wrong value or a missing file (`ValueError`, `OSError`) is the user's to mend and is told in
    one line; with GSN_TRACEBACK=1 in the environment the traceback comes as well. Any other
    exception is a fault of the program and keeps its traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        log.error("%s", error, exc_info=os.environ.get("GSN_TRACEBACK") == "1")
        sys.exit(1)


@contextmanager
def remedy(what_to_do: str, *kinds: type[Exception]) -> Iterator[None]:
    """Add to the message of an error of these kinds what the user can do about it."""
    try:
        yield
    except kinds as error:
        raise type(error)(f"{error}: {what_to_do}") from error
