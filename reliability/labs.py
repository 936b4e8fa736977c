"""Several laboratories that work at once, each a process with folders and a disk of its own."""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path

from reliability.disk import mount_small_disk, mounting_is_allowed, unmount
from reliability.lab import Lab, Try, Verdict
from reliability.plan import carry_out
from reliability.project import Graph
from reliability.states import States

DISK = "disk"
log = logging.getLogger(__name__)
_own: list[Lab] = []  # of this process


class Labs:
    """The undisturbed runs, and where the laboratories lie."""

    def __init__(self, folder: Path, graph: Graph, jobs: int) -> None:
        self.jobs = jobs
        self.states = States(folder / "states", graph)
        self._folder = folder
        self.has_disk = mounting_is_allowed(folder / DISK)
        if not self.has_disk:
            log.warning(
                "mounting is not allowed, so that no disk is filled: run this as root, or by "
                "`unshare -rm python -m reliability`"
            )

    @contextmanager
    def workers(self) -> Iterator[Pool]:
        """Yield processes, each with a laboratory, for `in_own_lab`."""
        signal.signal(signal.SIGTERM, _end)  # so that no disk stays mounted
        forking = multiprocessing.get_context("fork")
        try:
            with forking.Pool(self.jobs, self._set_up) as pool:
                yield pool
        finally:
            for disk in self._folder.glob(f"*/{DISK}"):
                unmount(disk)

    def _set_up(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        folder = self._folder / str(os.getpid())
        disk = folder / DISK if self.has_disk else None
        if disk is not None:
            mount_small_disk(disk)
        _own.append(Lab(self.states, folder / "place", folder / "other", disk))


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def in_own_lab(one: Try) -> Verdict:
    """Make a try in the laboratory of this process."""
    return carry_out(_own[0], one)
