from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml

from gsn.evaluation.prompts.prompt import PixelPrompt, TextPrompt
from gsn.evaluation.prompts.prompt_file import read_prompts, write_prompt
from gsn.evaluation.prompts.prompt_form import PromptError

SIZE = (24, 32)
VIEWS = ("view0", "view1", "view2")
HELD_OUT = (True, False, False)
PIXELS = """
version: 1
object: {label}
view: view1
image_size_px: [32, 24]
positive: {{points: [[{x}, 3]]}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "prompts").mkdir()
    return tmp_path / "prompts"


def read(folder, size=SIZE):
    return read_prompts(folder, VIEWS, HELD_OUT, size)


def random_prompt(**changes):
    rng = np.random.default_rng(0)
    reference = rng.random(SIZE) < 0.5
    positive = reference & (rng.random(SIZE) < 0.3)
    negative = ~reference & (rng.random(SIZE) < 0.3)
    whole = PixelPrompt("cup", 0, "view2", positive, negative, reference)
    return replace(whole, **changes)


def assert_same(prompt, other):
    assert (prompt.label, prompt.draw, prompt.view) == (other.label, other.draw, other.view)
    for name in ("positive", "negative", "reference", "box"):
        np.testing.assert_array_equal(getattr(prompt, name), getattr(other, name), name)


def test_without_a_folder_there_are_no_prompts(tmp_path):
    assert read(tmp_path / "prompts") == []


def test_files_are_read_in_the_order_of_their_names(folder):
    for name, label in (("c", "cup"), ("a", "jar"), ("b", "cup"), ("d", "jar")):
        text = PIXELS.format(label=label, x=ord(name) - ord("a"))
        (folder / f"{name}.yaml").write_text(text)
    (folder / "bb.yaml").write_text("{version: 1, object: cup, text: a purple cup}")
    for other in (".c.yaml", "notes.md", "c.png"):
        (folder / other).write_text("no prompt")
    found = read(folder)
    assert found.pop(2) == TextPrompt("cup", "a purple cup")
    labels_and_draws = [(prompt.label, prompt.draw) for prompt in found]
    assert labels_and_draws == [("jar", 0), ("cup", 0), ("cup", 1), ("jar", 1)]
    assert [np.argwhere(prompt.positive).tolist() for prompt in found] == [
        [[3, 0]],
        [[3, 1]],
        [[3, 2]],
        [[3, 3]],
    ]
    assert {prompt.view for prompt in found} == {"view1"}


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ("view0", "'view0' is a held-out view, which no prompt may see, expected a source view:"),
        ("view7", "'view7' is no view of the scene, expected a source view: view1, view2"),
    ],
)
def test_a_view_that_is_no_source_view_is_refused(folder, view, message):
    text = PIXELS.format(label="cup", x=1).replace("view1", view)
    (folder / "cup.yaml").write_text(text)
    with pytest.raises(PromptError, match=rf"cup\.yaml: key 'view': {message}"):
        read(folder)


@pytest.mark.parametrize("name", ["cup.yml", "cup.YAML"])
def test_a_file_that_looks_like_a_prompt_but_would_not_be_read_is_refused(folder, name):
    (folder / name).write_text(PIXELS.format(label="cup", x=1))
    with pytest.raises(PromptError, match=rf"{name}: expected prompt files to end in '.yaml'"):
        read(folder)


@pytest.mark.parametrize(
    "prompt",
    [
        random_prompt(),
        random_prompt(negative=None),
        random_prompt(negative=None, reference=None),
        random_prompt(label="no", view="view1"),
        random_prompt(box=~random_prompt().negative),
        random_prompt(positive=None, box=~random_prompt().negative),
        random_prompt(positive=None, box=random_prompt().reference, negative=None, reference=None),
        random_prompt(label="große Tasse: #1"),
        random_prompt(positive=np.ones(SIZE, bool), negative=None, reference=np.ones(SIZE, bool)),
    ],
)
def test_a_written_prompt_reads_as_it_was(folder, prompt):
    assert write_prompt(folder, "cup.0", prompt) == folder / "cup.0.yaml"
    (found,) = read(folder)
    assert_same(found, prompt)


def test_written_prompts_of_one_object_keep_their_order(folder):
    prompts = [random_prompt(draw=draw, view=f"view{2 - draw}") for draw in (0, 1)]
    for prompt in prompts:
        write_prompt(folder, f"cup_{prompt.draw}", prompt)
    for found, prompt in zip(read(folder), prompts, strict=True):
        assert_same(found, prompt)


def test_a_written_prompt_reads_at_another_size(folder):
    prompt = random_prompt(negative=None)
    write_prompt(folder, "cup", prompt)
    (found,) = read(folder, (12, 16))
    expected = prompt.positive.reshape(12, 2, 16, 2).any(axis=(1, 3))
    np.testing.assert_array_equal(found.positive, expected)
    (found,) = read(folder, (48, 64))
    twice = np.kron(prompt.reference, np.ones((2, 2))) > 0
    np.testing.assert_array_equal(found.reference, twice)


def test_a_prompt_is_written_anew_and_nothing_half_written_is_left(folder):
    write_prompt(folder, "cup", random_prompt())
    prompt = random_prompt(positive=random_prompt().reference, negative=None)
    write_prompt(folder, "cup", prompt)
    (found,) = read(folder)
    assert_same(found, prompt)
    pictures = {f"cup.{side}.png" for side in ("positive", "negative", "reference")}
    assert {path.name for path in folder.iterdir()} == {"cup.yaml", *pictures}


def test_a_written_file_is_the_same_each_time_and_plain_to_read(folder, tmp_path):
    for place in (folder, tmp_path / "again"):
        write_prompt(place, "cup", random_prompt())
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    text = (folder / "cup.yaml").read_text()
    assert "image_size_px: [32, 24]" in text
    assert yaml.safe_load(text) == {
        "version": 1,
        "object": "cup",
        "view": "view2",
        "image_size_px": [32, 24],
        "positive": {"strokes": ["cup.positive.png"]},
        "negative": {"strokes": ["cup.negative.png"]},
        "reference": "cup.reference.png",
    }


def test_a_rectangle_is_read_as_a_box(folder):
    text = PIXELS.format(label="cup", x=1).replace("points: [[1, 3]]", "rectangle: [4, 5, 6, 7]")
    (folder / "cup.yaml").write_text(text)
    (found,) = read(folder)
    assert found.positive is None
    assert found.box[5:8, 4:7].all() and found.box.sum() == 9


def test_a_prompt_is_not_written_outside_of_the_folder(folder):
    with pytest.raises(ValueError, match=r"'\.\./cup': expected a file name without folder"):
        write_prompt(folder, "../cup", random_prompt())
    assert list(folder.parent.iterdir()) == [folder]


def test_a_prompt_at_the_border_of_a_shrunk_object_is_written_so_that_it_can_be_read(folder):
    whole = np.zeros((72, 96), np.uint8)
    whole[9:30, 9:13] = 255  # of the new column 4 a third: a stroke keeps it, an area does not
    cv2.imwrite(str(folder / "whole.png"), whole)
    entries = {"version": 1, "object": "cup", "view": "view1", "image_size_px": [96, 72]}
    entries |= {"positive": {"points": [[12, 20]]}, "reference": "whole.png"}
    (folder / "a.yaml").write_text(yaml.safe_dump(entries))
    (prompt,) = read(folder)
    write_prompt(folder / "again", "a", prompt)
    (again,) = read(folder / "again")
    assert_same(again, prompt)
