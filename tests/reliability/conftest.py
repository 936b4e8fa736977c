"""Stages of a few lines, good and bad, and a laboratory to try them in."""

from pathlib import Path

import pytest

from reliability.lab import Lab
from reliability.project import Graph, Stage
from reliability.states import FRESH, UPDATE, States, Undisturbed, succeed
from reliability.trees import copy_to, digest_of

OUT = Path("data/out.txt")
CONTENT = "text" * 2000  # more than a write may put down that is cut short
HEAD = """
import sys
from pathlib import Path
from gsn.atomic import complete_or_absent
out = Path("data/out.txt")
"""
STAGES = {
    "careful": f"""
try:
    with complete_or_absent(out) as partial:
        partial.write_text("{CONTENT}")
except OSError as error:
    sys.exit(f"data/out.txt: {{error}}")
""",
    # Keeps what it finds, finished or not.
    "careless": f"""
out.parent.mkdir(exist_ok=True)
if not out.exists():
    out.write_text("{CONTENT}")
""",
    "reader": """
text = out.read_text(errors="replace") if out.exists() else ""
if len(text) < 8000:
    sys.exit("data/out.txt: cut short, run `dvc repro careful`")
if set(text) - set("text"):
    sys.exit("data/out.txt: damaged, run `dvc repro -f -s careful`")
Path("data/read.txt").write_text(text)
""",
    "trusting": """
Path("data/read.txt").write_bytes(out.read_bytes() if out.exists() else b"")
""",
    "crashing": """
import os, signal
try:
    out.parent.mkdir(exist_ok=True)
    out.write_text("text")
except OSError:
    os.kill(os.getpid(), signal.SIGTERM)
""",
    "silent": """
if set(out.read_text(errors="replace")) - set("text"):
    sys.exit("damaged")
Path("data/read.txt").write_text(out.read_text())
""",
}


@pytest.fixture
def make_lab(tmp_path, monkeypatch):
    """Return what makes a laboratory for some of these stages, in their order."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(*names):
        stages, runs = [], {}
        source = tmp_path / "states" / "begin"
        source.mkdir(parents=True)
        for name in names:
            (tmp_path / f"stage_{name}.py").write_text(HEAD + STAGES[name])
            first = not stages  # the others read what it writes
            reads, writes = ((), (OUT,)) if first else ((OUT,), (OUT.with_name("read.txt"),))
            stage = Stage(name, f"stage_{name}", (), reads, writes, ())
            end = tmp_path / "states" / name
            copy_to(source, end)
            ended = succeed(end, stage)
            run = Undisturbed(source, end, digest_of(source), digest_of(end), ended)
            runs[name, FRESH] = runs[name, UPDATE] = run
            stages.append(stage)
            source = end
        states = States(tmp_path / "states", Graph(tuple(stages)), runs)
        return Lab(states, tmp_path / "place", tmp_path / "other", None)

    return make
