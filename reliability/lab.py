"""Where tries are made, and the question they all ask: what became of the project after a fault?"""

import random
import re
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from reliability.child import Ended, Run
from reliability.project import Stage
from reliability.states import FRESH, States, Undisturbed
from reliability.trees import Digest, changed_files, clear, copy_to, differences, digest_of

IDENTICAL, STOPPED, FAILED = "finished identical", "stopped with message", "FAILED"
COMMAND = re.compile(r"`dvc repro (?:-\S+ )*(\w+)")
OURS = (signal.SIGKILL, signal.SIGXFSZ)  # signals that a fault sends
N_SHOWN = 3  # differences in a reason


@dataclass(frozen=True)
class Try:
    """One try: its name says all that is needed to repeat it."""

    fault: str
    stage: str
    start: str  # one of STARTS
    value: str  # when, where, how much: what the kind of fault needs

    @property
    def name(self) -> str:
        """The name, as `--only` takes it."""
        return f"{self.fault}/{self.stage}/{self.start}/{self.value}"


@dataclass(frozen=True)
class Verdict:
    """What came of a try."""

    outcome: str
    reason: str = ""  # of a failure


class Failure(Exception):
    """The stages do not keep their promise; the message says how."""


@dataclass
class Lab:
    """The undisturbed runs, and folders to try in."""

    states: States
    place: Path  # the project that suffers
    other: Path  # a second one
    disk: Path | None  # a small one is mounted here; None: that is not allowed
    _known: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def stage_of(self, one: Try) -> Stage:
        """The stage of a try."""
        return self.states.graph.by_name[one.stage]

    def begin(self, one: Try, place: Path | None = None) -> Undisturbed:
        """Bring the project to where a try starts; return the run that nothing disturbed."""
        undisturbed = self.states.of(self.stage_of(one), one.start)
        copy_to(undisturbed.start, place or self.place)
        return undisturbed

    def judge(self, one: Try, ended: Ended, place: Path | None = None) -> str:
        """Say how a project recovers that a fault has left in `place`.

        Raises:
            Failure: It does not.
        """
        place, stage = place or self.place, self.stage_of(one)
        undisturbed = self.states.of(stage, one.start)
        check_words(ended)
        left = digest_of(place)
        if ended.finished:
            expect(left, undisturbed.after, f"{stage.name} ended as a success, but")
            return IDENTICAL
        key = (one.stage, one.start, str(sorted(left.items())))
        if key not in self._known:
            if one.start == FRESH:
                self.check_next(one, place)
            self._known[key] = self.rerun(stage, place, undisturbed.after)
        return self._known[key]

    def rerun(self, stage: Stage, place: Path, expected: Digest) -> str:
        """Run a stage again after a fault; if it stops, run the command that its message names.

        Raises:
            Failure: It ends otherwise than a run that nothing disturbed, or mends nothing.
        """
        ended = Run(place, stage).wait()
        outcome = IDENTICAL
        if not ended.finished:
            check_words(ended)
            self.mend(ended, place)
            outcome, ended = STOPPED, Run(place, stage).wait()
        if not ended.finished:
            raise Failure(f"{stage.name} cannot be run again: {ended.last_words}")
        expect(digest_of(place), expected, f"after another run of {stage.name}")
        return outcome

    def mend(self, ended: Ended, place: Path) -> None:
        """Do what the last message asks for, as DVC does it: it deletes outputs it need not keep.

        Raises:
            Failure: It asks for nothing, or that fails too.
        """
        found = COMMAND.search(ended.said)
        stage = self.states.graph.by_name.get(found[1]) if found else None
        if stage is None:
            raise Failure(f"the message names no command that mends it: {ended.last_words}")
        for path in set(stage.writes) - set(stage.kept):
            _remove(place / path)
        again = Run(place, stage).wait()
        if not again.finished:
            raise Failure(f"{stage.name} was to mend it, but says: {again.last_words}")

    def check_next(self, one: Try, place: Path) -> None:
        """Let a later stage find what the fault left: it must not take it for finished.

        Raises:
            Failure: It does, or ends with a traceback.
        """
        stage, graph = self.stage_of(one), self.states.graph
        readers = [reader for out in stage.writes for reader in graph.readers_of(out)]
        if not readers:
            return
        reader = random.Random(one.name).choice(readers)
        undisturbed = self.states.of(reader)
        copy_to(undisturbed.start, self.other)
        for path in stage.writes:
            _remove(self.other / path)
            _copy(place / path, self.other / path)
        ended = Run(self.other, reader).wait()
        check_words(ended)
        if ended.finished:
            made = changed_files(undisturbed.before, undisturbed.after)
            found, expected = digest_of(self.other), undisturbed.after
            wrong = [name for name in made if found.get(name) != expected[name]]
            if wrong:
                raise Failure(f"{reader.name} takes what is left for finished: other {wrong[0]}")


def check_words(ended: Ended) -> None:
    """See to it that a run that ended by itself said why in plain words.

    Raises:
        Failure: There is a traceback, or no word, or it crashed.
    """
    if ended.killed and -ended.status not in OURS:
        raise Failure(f"it crashed: {signal.Signals(-ended.status).name}")
    if "Traceback" in ended.said:
        raise Failure(f"a traceback: {ended.last_words}")
    if ended.status > 0 and not ended.last_words:
        raise Failure("it stopped without a word")


def expect(found: Digest, expected: Digest, when: str) -> None:
    """Compare two projects.

    Raises:
        Failure: They differ.
    """
    if wrong := differences(found, expected):
        more = f" and {len(wrong) - N_SHOWN} more" if len(wrong) > N_SHOWN else ""
        raise Failure(f"{when} {', '.join(wrong[:N_SHOWN])}{more}")


def _remove(path: Path) -> None:
    if path.is_dir():
        clear(path)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        copy_to(source, target)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
