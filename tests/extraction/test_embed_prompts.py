import numpy as np
import pytest
import torch

from gsn.extraction.embed_prompts import keep_prompts
from gsn.features.prompts import PROMPTS_FILE, load_prompts


class Mute:
    name = "fake"

    def __init__(self, seed=0):
        self.fingerprint = {"name": "fake", "weights": {"seed": seed}, "windows": 1}


class Reader(Mute):
    """Gives each text the unit vector of its first letter, once for each size of windows."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.seen = []

    def embed_texts(self, texts):
        self.seen += texts
        vectors = torch.eye(26)[[ord(text[0]) - ord("a") for text in texts]]
        n_windows = self.fingerprint["windows"]
        return vectors.repeat(1, n_windows) / n_windows**0.5


def test_texts_are_embedded_once(tmp_path):
    keep_prompts(Reader(), ["cat", "dog"], tmp_path)
    prompts = load_prompts(tmp_path)
    assert prompts.texts == ("cat", "dog")
    np.testing.assert_array_equal(prompts.vectors, np.eye(26)[[2, 3]])
    before = (tmp_path / PROMPTS_FILE).stat()
    again = Reader()
    keep_prompts(again, ["cat", "dog"], tmp_path)
    assert again.seen == []
    assert (tmp_path / PROMPTS_FILE).stat() == before


@pytest.mark.parametrize(("seed", "texts"), [(1, ["cat"]), (0, ["dog"]), (0, ["cat", "dog"])])
def test_other_texts_or_weights_are_embedded_anew(tmp_path, seed, texts):
    keep_prompts(Reader(), ["cat"], tmp_path)
    reader = Reader(seed)
    keep_prompts(reader, texts, tmp_path)
    assert reader.seen == texts
    assert load_prompts(tmp_path).texts == tuple(texts)


def test_a_teacher_that_sees_otherwise_embeds_anew(tmp_path):
    """Windows of two sizes, concatenated, make longer vectors of photographs and texts."""
    keep_prompts(Reader(), ["cat"], tmp_path)
    reader = Reader()
    reader.fingerprint["windows"] = 2
    keep_prompts(reader, ["cat"], tmp_path)
    assert load_prompts(tmp_path).vectors.shape == (1, 52)
    keep_prompts(Reader(), ["cat"], tmp_path)
    assert load_prompts(tmp_path).vectors.shape == (1, 26)


@pytest.mark.parametrize(("teacher", "texts"), [(Mute(), ["cat"]), (Reader(), [])])
def test_stale_prompts_are_removed(tmp_path, caplog, teacher, texts):
    keep_prompts(Reader(), ["cat"], tmp_path)
    with caplog.at_level("INFO"):
        keep_prompts(teacher, texts, tmp_path)
    assert load_prompts(tmp_path) is None
    assert ("fake reads no text: 1 prompts are not used" in caplog.text) is bool(texts)


def test_damaged_prompts_are_embedded_again(tmp_path, caplog):
    (tmp_path / PROMPTS_FILE).write_bytes(b"half")
    keep_prompts(Reader(), ["cat"], tmp_path)
    assert load_prompts(tmp_path).texts == ("cat",)
    assert "embedded again" in caplog.text
