"""What a child process of the fuzz run does with one input, and what its watcher sees of it."""

import mmap
import time
from dataclasses import dataclass, field
from pathlib import Path

from reliability.fuzz_corpus import FINDING, outcome_of
from reliability.fuzz_targets import DOCUMENTED, TARGETS, empty
from reliability.mutate import LONGEST

SLOW_SECONDS = 2.0  # for one input
HEAD_BYTES = 16  # of the shared memory: number of inputs begun, length of the last


@dataclass
class Found:
    """What one child did."""

    n_runs: int = 0
    n_taken: int = 0
    seconds: float = 0.0
    new: dict[str, bytes] = field(default_factory=dict)  # input by outcome


class Blackboard:
    """Shared memory in which a child says what it is about to try."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, HEAD_BYTES + 4 * LONGEST)

    def write(self, n_runs: int, data: bytes) -> None:
        """Tell the number and the bytes of the input that is tried next."""
        kept = data[: 4 * LONGEST]
        self.memory[HEAD_BYTES : HEAD_BYTES + len(kept)] = kept
        self.memory[8:16] = len(kept).to_bytes(8, "little")
        self.memory[:8] = n_runs.to_bytes(8, "little")

    @property
    def n_runs(self) -> int:
        """How many inputs were begun."""
        return int.from_bytes(self.memory[:8], "little")

    @property
    def data(self) -> bytes:
        """The last of them."""
        length = int.from_bytes(self.memory[8:16], "little")
        return self.memory[HEAD_BYTES : HEAD_BYTES + length]


class Tester:
    """Runs single inputs and remembers the outcomes not seen before."""

    def __init__(self, name: str, place: Path, known: set[str], board: Blackboard) -> None:
        self.target, self.place, self.known, self.board = TARGETS[name], place, known, board
        self.found = Found()
        empty(place)

    def __call__(self, data: bytes) -> bool:
        """Try one input; say whether its outcome is new."""
        self.found.n_runs += 1
        self.board.write(self.found.n_runs, data)
        started = time.monotonic()
        error: BaseException | None = None
        try:
            self.target.run(data, self.place)
            self.found.n_taken += 1
        except Exception as raised:  # whatever comes out is what is looked for
            error = raised
        spent = time.monotonic() - started
        outcome = outcome_of(error)
        if error is not None and not isinstance(error, DOCUMENTED):
            outcome = FINDING + outcome
        elif spent > SLOW_SECONDS:
            outcome = f"{FINDING}slow: {outcome}"
        if outcome in self.known:
            return False
        self.known.add(outcome)
        self.found.new[outcome] = data
        return True
