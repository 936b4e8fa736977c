import subprocess

import pytest
import torch

from pipeline.provenance import describe_commit, describe_machine


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout in which this module seems to lie."""
    (tmp_path / "pipeline").mkdir()
    code = tmp_path / "pipeline" / "provenance.py"
    code.write_text("one")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    monkeypatch.setattr("pipeline.provenance.__file__", str(code))
    return tmp_path


def test_the_commit_is_that_of_the_code(checkout):
    run = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True)
    assert run.stdout.startswith(describe_commit())
    assert len(describe_commit()) >= 9


def test_code_that_differs_from_its_commit_is_said_to(checkout):
    (checkout / "notes.txt").write_text("of no consequence")
    assert "changes" not in describe_commit()
    (checkout / "pipeline" / "provenance.py").write_text("two")
    assert describe_commit().endswith(", with changes")


def test_without_a_checkout_the_commit_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert describe_commit() == "unknown (no git checkout)"


def test_a_processor_is_named_with_its_threads():
    text = describe_machine(torch.device("cpu"))
    name, threads = text.rsplit(", ", 1)
    assert name
    assert threads.split()[0] == str(torch.get_num_threads())
    assert threads.split()[1].startswith("thread")
