"""Kept inputs of the fuzz run: one JSON line each, with the outcome that they showed first."""

import base64
import json
import re
from pathlib import Path

from gsn.atomic import complete_or_absent

CORPUS = Path("tests") / "fuzz_corpus"
FINDING = "FINDING "
MOST_KEPT = 40  # outcomes of one target
LARGEST_KEPT = 1500  # bytes; findings are kept whatever their size
LONGEST_OUTCOME = 70  # characters


class Corpus:
    """The inputs of one target, by outcome."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        self.outcomes: dict[str, bytes] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self.outcomes[entry["outcome"]] = base64.b64decode(entry["base64"])

    @property
    def inputs(self) -> list[bytes]:
        """Return all inputs that are kept."""
        return list(self.outcomes.values())

    def add(self, outcome: str, data: bytes) -> None:
        """Keep an input, if there is room for it."""
        small = len(data) <= LARGEST_KEPT and len(self.outcomes) < MOST_KEPT
        if small or outcome.startswith(FINDING):
            self.outcomes.setdefault(outcome, data)

    def save(self) -> None:
        """Write the file anew, sorted by outcome."""
        lines = [
            json.dumps({"outcome": outcome, "base64": base64.b64encode(data).decode()})
            for outcome, data in sorted(self.outcomes.items())
        ]
        with complete_or_absent(self.path) as partial:
            partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def outcome_of(error: BaseException | None) -> str:
    """Return what happened, less the numbers and names that differ between inputs alike."""
    if error is None:
        return "taken"
    text = " ".join(str(error).split())
    text = re.sub(r"'[^']*'|\"[^\"]*\"|b'.*'", "*", text)
    text = re.sub(r"[-+]?[\d.]+(e[-+]?\d+)?|\bnan\b|\binf\b", "#", text)
    text = re.sub(r"[^ -~]+", "?", re.sub(r"/\S+", "PATH", text))
    return f"{type(error).__name__}: {text}"[:LONGEST_OUTCOME]
