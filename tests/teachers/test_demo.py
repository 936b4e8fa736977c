import fnmatch
import hashlib
import socket
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from demo_teachers.held_out import (
    colour_features,
    held_out_scenes,
    smooth_colour_features,
    teacher_features,
)
from demo_teachers.label_transfer import label_transfer_miou
from demo_teachers.text_queries import text_miou
from gsn.teachers import TEACHERS, load_teacher
from gsn.teachers.demo.entries import FOLDER
from gsn.teachers.demo.networks import CONTEXT, create_clip_demo, create_dino_demo
from gsn.teachers.demo.words import END, PAD, UNKNOWN, WORDS, tokenize
from gsn.teachers.weights import load_strictly, sha256_of_weights

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]
LONG_SIDE_PX = 288  # of the default run
MAX_BYTES = 6_000_000
NETWORKS = {"dino-demo": create_dino_demo, "clip-demo": lambda: create_clip_demo(len(WORDS))}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a demo teacher reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def scenes():
    return held_out_scenes(4)


@pytest.fixture(scope="module")
def shipped(teacher_config):
    """Return what loads a demo teacher as the default run does."""

    def load(name, **options):
        options = {"weights": "hub", "long_side_px": LONG_SIDE_PX} | options
        return load_teacher(teacher_config(name, **options), CPU)

    return load


def towers(name):  # the whole network, and the part that sees photographs
    network = NETWORKS[name]()
    return network, getattr(network, "visual", network)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_shipped_file_is_small_half_precision_and_whole(name):
    path = FOLDER / f"{name}.safetensors"
    network, weights = towers(name)[0], load_file(path)
    assert path.stat().st_size <= MAX_BYTES
    buffers = {buffer for buffer, _ in network.named_buffers()}
    assert {value.dtype for key, value in weights.items() if key not in buffers} == {torch.float16}
    load_strictly(network, weights, path)
    for key, value in network.state_dict().items():
        assert value.isfinite().all(), key
        assert torch.equal(value, weights[key].to(value.dtype)), key


@pytest.mark.parametrize("name", NETWORKS)
def test_the_card_describes_the_network(name, shipped, photographs):
    card, visual = TEACHERS[name].card, towers(name)[1]
    assert card.parameters == sum(value.numel() for value in visual.parameters())
    teacher = shipped(name, long_side_px=None)
    images = photographs(3 * card.patch_px + 1, 5 * card.patch_px)
    assert teacher(images).shape == (2, 3, 5, card.channels)
    assert teacher.channels == card.channels
    assert teacher.grid(99, 99).step_px == (card.patch_px, card.patch_px)
    assert teacher.trained


def test_model_cards_and_weights_are_installed_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["gsn.teachers.demo"]
    for name in NETWORKS:
        files = [f"{name}.safetensors", f"{name.upper()}.md"]
        assert all((FOLDER / file).is_file() for file in files)
        assert all(any(fnmatch.fnmatch(file, p) for p in patterns) for file in files)
        text = (FOLDER / f"{name.upper()}.md").read_text()
        for part in ("data", "objective", "minutes", "IoU", "Limits", "licence"):
            assert part in text, f"{name}: the card says nothing of {part}"


def numbers_of(card, row):
    """The numbers of a row of a table in a model card."""
    text = (FOLDER / card).read_text()
    assert "MEASURED" not in text
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {row}")]
    return [float(cell.strip(" *")) for cell in line.split("|")[2:-1]]


def test_the_card_reports_a_lead_of_fifteen_points():
    own = numbers_of("DINO-DEMO.md", "**dino-demo**")
    assert len(own) == 3
    for other in ("colour of the pixel", "mean colour of 8", "the same ViT, untrained"):
        lead = [a - b for a, b in zip(own, numbers_of("DINO-DEMO.md", other), strict=True)]
        assert min(lead) >= 15
    assert len(numbers_of("CLIP-DEMO.md", "found by caption")) == 3


def test_words_and_lengths_that_are_not_read_are_told(caplog):
    tokenize(["a red ball"])
    assert not caplog.messages
    tokenize(["a wild boar", "red " * 25])
    assert caplog.messages[0].endswith("does not know ['wild', 'boar'] of the text 'a wild boar'")
    assert "reads the first 19 words" in caplog.messages[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_fingerprint_knows_the_weights(name, shipped, tmp_path):
    path = FOLDER / f"{name}.safetensors"
    network, weights = towers(name)[0], load_file(path)
    load_strictly(network, weights, path)
    hub = shipped(name).fingerprint["weights"]
    assert hub == {"source": "hub", "trained": True, "sha256": sha256_of_weights(network)}
    key = next(key for key, value in weights.items() if value.ndim == 2)
    weights[key][0, 0] += 1
    load_strictly(network, weights, path)
    assert hub["sha256"] != sha256_of_weights(network)
    other = tmp_path / "other.safetensors"
    save_file(weights, other)
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    from_file = shipped(name, weights=str(other)).fingerprint["weights"]
    assert from_file == {"source": "file", "trained": True, "sha256": sha256}


def test_words_are_known_and_others_are_one_and_the_same():
    assert len(set(WORDS)) == len(WORDS) == END + 1
    row, other = tokenize(["A red, striped sphere!", "a red zebra xylophone"])
    read = [WORDS[number] for number in row]
    assert read[:5] == ["a", "red", "striped", "sphere", "<end>"]
    assert set(read[5:]) == {"<pad>"}
    assert other[:5].tolist() == [*row[:2].tolist(), UNKNOWN, UNKNOWN, END]
    assert tokenize([""]).tolist() == [[END] + [PAD] * (CONTEXT - 1)]


def test_a_text_too_long_is_cut_and_keeps_its_end():
    longest = " ".join(["red"] * (CONTEXT - 1))
    rows = tokenize([longest, f"{longest} sphere behind a box"])
    assert rows.shape == (2, CONTEXT)
    assert torch.equal(rows[0], rows[1])
    assert rows[0].tolist() == [WORDS.index("red")] * (CONTEXT - 1) + [END]


def test_texts_of_different_things_are_told_apart(shipped):
    texts = shipped("clip-demo").embed_texts(
        ["a red ball", "a blue ball", "a red mug", "red zebra"]
    )
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(4))
    assert (texts @ texts.T - torch.eye(4)).max() < 0.95


def test_dino_demo_carries_labels_better_than_colour_and_than_its_network_untrained(
    scenes, shipped
):
    def miou(features):
        return label_transfer_miou(scenes, features)

    trained = miou(teacher_features(shipped("dino-demo")))
    untrained = miou(teacher_features(shipped("dino-demo", weights="seeded")))
    assert trained >= miou(colour_features) + 0.15
    assert trained >= miou(smooth_colour_features) + 0.15
    assert trained >= untrained + 0.15


def test_clip_demo_finds_objects_by_their_captions(scenes, shipped):
    teacher = shipped("clip-demo")
    assert text_miou(scenes, teacher_features(teacher), teacher.embed_texts) > 0.4
