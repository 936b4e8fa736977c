"""The project as it is before and after each stage, made once by undisturbed runs."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from gsn.captures.origin import STAMP
from reliability.child import Ended, Run
from reliability.project import EARLIER, OWN, OWN_CAPTURES, PARAMS, Graph, Stage, write_params
from reliability.trees import Digest, clear, copy_to, digest_of

FRESH, UPDATE = "fresh", "update"
# What a stage may find of itself when it starts: nothing, or what other settings made.
STARTS = (FRESH, UPDATE)


@dataclass
class Undisturbed:
    """A run that nothing disturbed: from where, to what, and at which cost."""

    start: Path  # a copy of the project before it
    end: Path  # and after it
    before: Digest
    after: Digest
    ended: Ended


@dataclass
class States:
    """All undisturbed runs of the tiny project, below one folder."""

    folder: Path
    graph: Graph
    runs: dict[tuple[str, str], Undisturbed] = field(default_factory=dict)  # by stage and start

    def of(self, stage: Stage, start: str = FRESH) -> Undisturbed:
        """Return the undisturbed run of a stage."""
        return self.runs[stage.name, start]

    def make(self, stage: Stage) -> None:
        """Run one stage, after those before it: fresh, and over what other settings made."""
        before = self.graph.before(stage)
        source = self._begin() if before is None else self.of(before).end
        self.runs[stage.name, FRESH] = self._run(stage, source, FRESH)
        earlier = self.folder / stage.name / "earlier"
        copy_to(source, earlier)
        write_params(earlier / PARAMS, EARLIER[stage.name])
        succeed(earlier, stage)
        shutil.copyfile(source / PARAMS, earlier / PARAMS)
        self.runs[stage.name, UPDATE] = self._run(stage, earlier, UPDATE)

    def _begin(self) -> Path:
        """Make the project before its first stage; the capture to copy is one that is rendered."""
        folder, maker = self.folder / "begin", self.folder / "maker"
        clear(folder)
        clear(maker)
        fetch = self.graph.by_name["fetch"]
        scene = {"fetch.source": "synthetic", "scenes.train": [OWN], "scenes.test": []}
        write_params(maker / PARAMS, scene)
        succeed(maker, fetch)
        raw = maker / fetch.arguments[0] / OWN
        shutil.copytree(raw, folder / OWN_CAPTURES / OWN, ignore=shutil.ignore_patterns(STAMP))
        write_params(folder / PARAMS, {})
        return folder

    def _run(self, stage: Stage, source: Path, start: str) -> Undisturbed:
        end = self.folder / stage.name / start
        copy_to(source, end)
        ended = succeed(end, stage)
        return Undisturbed(source, end, digest_of(source), digest_of(end), ended)


def succeed(folder: Path, stage: Stage) -> Ended:
    """Run a stage that nothing disturbs.

    Raises:
        RuntimeError: It fails all the same.
    """
    ended = Run(folder, stage).wait()
    if not ended.finished:
        raise RuntimeError(f"{stage.name} fails without any fault:\n{ended.said}")
    return ended
