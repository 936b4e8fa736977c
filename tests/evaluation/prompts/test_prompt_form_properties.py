"""Any value at any key of a prompt file gives a form or a PromptError, never anything else."""

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsn.evaluation.prompts.prompt_form import PixelForm, PromptError, TextForm, read_form

SOME = settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GOOD = {
    "version": 1,
    "object": "cup",
    "view": "a",
    "image_size_px": [64, 48],
    "positive": {"points": [[1, 2.5]], "lines": [[[1, 2], [3, 4]]], "line_width_px": 3},
    "negative": {"rectangle": [1, 2, 3, 4], "strokes": ["cup.png"]},
    "reference": "whole.png",
}
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, 2**63, 1e308, 32767, 32768])
NAMES = st.sampled_from(
    ["", " ", "../x.png", "/x.png", "C:\\x.png", "a\0.png", "x.jpg", "sub/x.png"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=6) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@SOME
@given(key=st.sampled_from(sorted(GOOD)), value=VALUES)
def test_any_value_at_any_key(tmp_path, key, value):
    path = tmp_path / "cup.yaml"
    path.write_text(yaml.safe_dump({**GOOD, key: value}), encoding="utf-8")
    try:
        form = read_form(path)
    except PromptError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
        return
    assert isinstance(form, PixelForm)
    assert form.image_size_px[0] * form.image_size_px[1] <= 200_000_000
    marks = [side for side in (form.positive, form.negative) if side is not None]
    for name in [name for side in marks for name in side.strokes] + [form.reference or "a.png"]:
        assert (tmp_path / name).resolve().is_relative_to(tmp_path)


@SOME
@given(data=st.binary(max_size=100) | st.text(max_size=100).map(lambda t: t.encode("utf-8")))
def test_any_bytes(tmp_path, data):
    path = tmp_path / "cup.yaml"
    path.write_bytes(data)
    try:
        assert isinstance(read_form(path), PixelForm | TextForm)
    except PromptError as error:
        assert str(error).startswith(f"{path}: ")


@SOME
@given(text=st.text(max_size=20))
def test_any_text_is_a_prompt_by_words_or_refused(tmp_path, text):
    path = tmp_path / "cup.yaml"
    quoted = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6)
    path.write_text(f"version: 1\nobject: cup\ntext: {quoted}", encoding="utf-8")
    try:
        assert read_form(path) == TextForm(1, "cup", text)
    except PromptError:
        assert not text.strip() or any(not c.isprintable() for c in text)
