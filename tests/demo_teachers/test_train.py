"""Both trainings for two steps on the CPU: they end, report, and write what the teachers load."""

import itertools
import logging
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from demo_teachers import train_clip, train_dino, validation
from demo_teachers.measure import demo_teacher

MINUTES = 4 / 60
PHOTOGRAPHS = (torch.rand(2, 32, 40, 3) * 255).to(torch.uint8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A clock that goes on by a second whenever it is read; one validation scene, measured once."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr("demo_teachers.run.time", clock)
    monkeypatch.setattr("demo_teachers.run.MARKS", 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(validation, "N_SCENES", 1)
    monkeypatch.setattr(train_clip, "SINGLES", 20)
    monkeypatch.setattr(train_clip, "PAIRS_OF_THINGS", 10)
    monkeypatch.setattr(train_clip, "AREA", (0.9, 1.0))  # crops that show something


def test_dino_training_writes_half_precision_weights_that_the_teacher_loads(tmp_path, caplog):
    path = tmp_path / "weights.safetensors"
    with caplog.at_level(logging.INFO, "demo_teachers.run"):
        train_dino.main(path, minutes=MINUTES, pairs=2, workers=1, seed=7)
    assert "step 1, 3 s" in caplog.text
    assert "label transfer 0." in caplog.text
    assert "dino-demo: 2 steps" in caplog.text
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    teacher = demo_teacher("dino-demo", str(path), 0, None)
    map_ = teacher(PHOTOGRAPHS)
    assert map_.shape == (2, 4, 5, teacher.channels)
    assert map_.isfinite().all()


def test_clip_training_of_texts_alone_keeps_the_picture_tower_bit_for_bit(tmp_path, caplog):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    with caplog.at_level(logging.INFO, "demo_teachers.run"):
        train_clip.main(first, MINUTES, 2, 1, 11, None, False)
        train_clip.main(second, MINUTES, 2, 1, 11, first, True)
    assert caplog.text.count("IoU from text 0.") == 2
    before, after = load_file(first), load_file(second)
    assert before.keys() == after.keys()
    assert {value.dtype for value in after.values()} == {torch.float16}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "token_embedding.weight" in changed
    assert not [name for name in changed if name.startswith("visual.")]
    teachers = [demo_teacher("clip-demo", str(path), 0, None) for path in (first, second)]
    maps = [teacher(PHOTOGRAPHS) for teacher in teachers]
    assert torch.equal(*maps)
    texts = [teacher.embed_texts(["a red ball"]) for teacher in teachers]
    assert not torch.equal(*texts)


def test_a_start_that_is_not_there_is_refused_before_anything_is_rendered(tmp_path):
    path = tmp_path / "start.safetensors"
    with pytest.raises(FileNotFoundError, match=r"start\.safetensors: no such weights file"):
        train_clip.main(tmp_path / "out.safetensors", MINUTES, 2, 1, 11, path, True)
