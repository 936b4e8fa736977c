"""Run a stage in a forked process, as `python -m pipeline.<stage>` would, and perhaps end it.

The parent has imported everything, so a run costs no start-up. It must never have computed with
torch: a child of a process with threads can hang.
"""

import importlib
import os
import runpy
import select
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from gsn.teachers.torchvision_ops import import_torchvision
from reliability.disk import drop_capabilities
from reliability.faults import NEVER, Counter, Fault
from reliability.project import Stage

LIMIT_S = 300.0  # no run on a tiny project takes as long
ENVIRONMENT = {
    # A report names the commit, which may change meanwhile; and a killed git leaves its lock.
    "GIT_DIR": os.devnull,
    "CUDA_VISIBLE_DEVICES": "",
    "GSN_TRACEBACK": "0",
}
# Imported by stages when they run, and slowly.
LATE = (
    "dvc.repo",
    "dvclive",
    "gsn.captures.synthetic.write",
    "matplotlib.pyplot",
    "open_clip",
    "torch._dynamo",
    "torchmetrics.functional.image",
)


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    status: int  # of the exit; negative: the signal that ended it
    said: str  # on stdout and stderr
    seconds: float
    n_events: int  # changes of the disk that Python knew of
    before_bytes: list[int]  # those of them that bytes of files can follow
    fault_came: bool

    @property
    def finished(self) -> bool:
        """Whether it ended as a success."""
        return self.status == 0

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return self.status < 0

    @property
    def last_words(self) -> str:
        """The last line that it said."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Run:
    """A stage at work in a process of its own."""

    def __init__(
        self, folder: Path, stage: Stage, fault: Fault = NEVER, privileged: bool = True
    ) -> None:
        """Start it.

        Args:
            folder: The project, its working directory.
            stage: What to run.
            fault: What goes wrong in it.
            privileged: Whether it may do what this process may; root may write anywhere.
        """
        self._counter = Counter()
        self._started = time.perf_counter()
        self._said = bytearray()
        self._pipe, end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _live(folder, stage, fault, self._counter, end, privileged)
        os.close(end)
        os.setpgid(self.pid, self.pid)  # here too: a kill may come before the child does it

    def let_work(self, seconds: float) -> None:
        """Come back when it has worked so long, or has ended."""
        self._listen(self._started + seconds)

    def wait(self, kill_after_s: float | None = None) -> Ended:
        """Wait until it ends, or kill it when its time is over.

        Raises:
            TimeoutError: It does not end by itself.
        """
        limit_s = LIMIT_S if kill_after_s is None else kill_after_s
        if not self._listen(self._started + limit_s):
            os.killpg(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        seconds = time.perf_counter() - self._started
        while said := os.read(self._pipe, 1 << 16):
            self._said += said
        os.close(self._pipe)
        text = self._said.decode(errors="replace").replace("\r", "\n")
        if kill_after_s is None and seconds >= LIMIT_S:
            raise TimeoutError(f"a stage did not end within {LIMIT_S:.0f} s; it said:\n{text}")
        counter = self._counter
        return Ended(status, text, seconds, counter.n_events, counter.before_bytes, counter.came)

    def _listen(self, until: float) -> bool:
        """Take in what it says until some time; return whether it has ended by then."""
        while (left_s := until - time.perf_counter()) > 0:
            if select.select([self._pipe], [], [], left_s)[0]:
                said = os.read(self._pipe, 1 << 16)
                self._said += said
                if not said:
                    return True
        return False


def import_all(stages: list[Stage]) -> None:
    """Import in this process what the stages import, so that its children need not.

    Raises:
        RuntimeError: An import started a thread.
    """
    tqdm.monitor_interval = 0  # no thread that watches progress bars
    import_torchvision()
    for name in (*(stage.module for stage in stages), *LATE):
        importlib.import_module(name)
    n_threads = len(list(Path("/proc/self/task").iterdir()))
    if n_threads > 1:
        raise RuntimeError(f"{n_threads} threads after the imports: a child could hang")


def _live(
    folder: Path, stage: Stage, fault: Fault, counter: Counter, pipe: int, privileged: bool
) -> NoReturn:
    """Be the child: run the stage and end, without the parent's clean-up."""
    status = 1
    try:
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (pipe, 1), (pipe, 2)):
            os.dup2(source, target)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # whatever the parent's are
        os.chdir(folder)
        os.environ.update(ENVIRONMENT)
        # The parent's bar is not ours to draw.
        tqdm._instances.clear()  # type: ignore[attr-defined]
        if not privileged:
            drop_capabilities()
        sys.argv = [stage.module, *stage.arguments]
        sys.modules.pop(stage.module, None)  # or runpy warns that it was imported before
        fault.install(counter, folder)
        runpy.run_module(stage.module, run_name="__main__", alter_sys=True)
        threading._shutdown()  # type: ignore[attr-defined]  # as at the end of any Python
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
