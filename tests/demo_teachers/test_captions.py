import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from demo_teachers.captions import (
    ANY,
    BACKGROUND,
    BESIDE,
    BEYOND,
    COLOUR_WORDS,
    RELATIONS,
    SHAPE_WORDS,
    WITH_PATTERN,
    Captions,
    Content,
    describe,
    true_of_crops,
    with_article,
    write_captions,
)
from demo_teachers.crops import Crops
from demo_teachers.stream import ATTRIBUTES, HEIGHT, WIDTH
from demo_teachers.text_queries import BACKGROUND_TEXTS
from demo_teachers.train_clip import look_into
from gsn.teachers.demo.words import PAD, UNKNOWN, WORDS, tokenize

SHAPES, COLOURS, PATTERNS = ATTRIBUTES
EVERY_THING = list(itertools.product(*(range(len(names)) for names in ATTRIBUTES)))


@pytest.fixture(scope="module")
def descriptions():
    """Every shape, colour and pattern, each described a few times: (thing, text, told)."""
    rng = np.random.default_rng(0)
    return [(thing, *describe(rng, thing)) for thing in EVERY_THING for _ in range(5)]


def unknown_words(texts):
    return [
        text for text, row in zip(texts, tokenize(texts), strict=True) if (row == UNKNOWN).any()
    ]


def words_of(tokens):  # without padding and end
    return [WORDS[number] for number in tokens.tolist() if number != PAD][:-1]


def test_every_description_and_relation_is_in_the_vocabulary(descriptions):
    rng = np.random.default_rng(0)
    texts = [with_article(rng, text) for _, text, _ in descriptions]
    pairs = [
        f"{one} {RELATIONS[k % len(RELATIONS)]} {other}"
        for k, (one, other) in enumerate(zip(texts, reversed(texts), strict=True))
    ]
    assert unknown_words([*texts, *pairs, *BACKGROUND, *BACKGROUND_TEXTS]) == []
    used = {word for text in texts for word in text.split()}
    forms = [word for words in (*SHAPE_WORDS.values(), *COLOUR_WORDS.values()) for word in words]
    spoken = {word for form in (*forms, *WITH_PATTERN.values()) for word in form.split()}
    assert used >= spoken | set(SHAPES + COLOURS + PATTERNS) | {"with", "thing", "object"}


def test_every_label_caption_of_the_generator_is_in_the_vocabulary(world):
    thing = world.objects[0]
    texture, captions = thing.material.texture, []
    for shape, colour, pattern in itertools.product(*ATTRIBUTES):
        material = replace(thing.material, texture=replace(texture, kind=pattern))
        caption = replace(thing, shape=shape, colour=colour, material=material).caption
        captions += [caption, f"a {caption}"]
    assert len(set(captions)) == 2 * len(EVERY_THING)
    assert unknown_words(captions) == []


def test_two_long_descriptions_and_a_relation_fit_into_a_text(descriptions):
    longest = max((text for _, text, _ in descriptions), key=lambda text: len(text.split()))
    text = f"a {longest} in front of a {longest}"
    assert words_of(tokenize([text])[0]) == text.split()


def has(text, words):
    return any(f" {word} " in f" {text} " for word in words)


def test_a_description_says_what_it_is_said_to_tell_and_no_more(descriptions):
    told_parts = set()
    for (shape, colour, pattern), text, told in descriptions:
        told_parts.add(tuple(part != ANY for part in told))
        assert all(
            part in (ANY, own) for part, own in zip(told, (shape, colour, pattern), strict=True)
        )
        shape_words = SHAPE_WORDS.get(SHAPES[shape], (SHAPES[shape],))
        colour_words = COLOUR_WORDS.get(COLOURS[colour], (COLOURS[colour],))
        name = PATTERNS[pattern]
        pattern_words = {name, WITH_PATTERN.get(name, name)}
        assert has(text, shape_words) == (told[0] != ANY)
        assert has(text, ("thing", "object")) == (told[0] == ANY)
        assert has(text, colour_words) == (told[1] != ANY)
        assert has(text, pattern_words) == (told[2] != ANY)
    assert len(told_parts) == 7  # all but nothing


def test_articles_fit():
    rng = np.random.default_rng(0)
    before = {with_article(rng, "orange ball") for _ in range(50)}
    assert before == {"an orange ball", "the orange ball", "orange ball"}
    assert {with_article(rng, "red egg") for _ in range(50)} == {
        "a red egg",
        "the red egg",
        "red egg",
    }


def random_content(n_crops=8, n_things=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    # Few kinds, so that captions are true of several.
    things = torch.randint(3, (n_crops, n_things, 3), generator=draw)
    things[torch.rand(n_crops, n_things, generator=draw) < 0.2] = -1
    shown = (torch.rand(n_crops, n_things, generator=draw) < 0.8) & (things[..., 0] >= 0)
    across = torch.rand(n_crops, n_things, generator=draw) * 0.3
    depth = 8 + torch.rand(n_crops, n_things, generator=draw) * 3
    return Content(things, shown, across, depth)


def fits_by_loop(told, thing):
    return all(part in (ANY, own) for part, own in zip(told.tolist(), thing.tolist(), strict=True))


def is_true_by_loop(captions, t, content, b):
    """Reference: look for one thing, or two, that the caption is true of."""
    n_things = content.things.shape[1]
    for k in range(n_things):
        if not (content.shown[b, k] and fits_by_loop(captions.first[t], content.things[b, k])):
            continue
        if captions.relation[t] == ANY:
            return True
        for j in range(n_things):
            if not (content.shown[b, j] and fits_by_loop(captions.second[t], content.things[b, j])):
                continue
            farther = float(content.depth[b, k] - content.depth[b, j])
            to_right = float(content.across[b, k] - content.across[b, j])
            holds = {
                "behind": farther > BEYOND,
                "in front of": farther < -BEYOND,
                "left of": to_right < -BESIDE,
                "right of": to_right > BESIDE,
            }
            if holds[RELATIONS[captions.relation[t]]]:
                return True
    return False


def test_truth_of_captions_matches_a_loop():
    content = random_content()
    captions = write_captions(np.random.default_rng(0), content, 40, 60)
    got = true_of_crops(captions, content)
    assert got.shape == (100, 8)
    expected = [[is_true_by_loop(captions, t, content, b) for b in range(8)] for t in range(100)]
    assert got.tolist() == expected
    assert 0.05 < got[40:].float().mean() < 0.9
    assert got[:40].any(dim=1).all()  # what is said of one thing was read off a crop
    assert set(captions.relation[40:].tolist()) == set(range(len(RELATIONS)))


def test_captions_say_what_their_table_says():
    captions = write_captions(np.random.default_rng(0), random_content(), 40, 60)
    for t in range(100):
        text = " ".join(words_of(captions.tokens[t]))
        relation = [name for name in RELATIONS if has(text, [name])]
        parts = text.split(f" {relation[0]} ") if relation else [text]
        said = [captions.first[t], captions.second[t]]
        assert relation == ([RELATIONS[captions.relation[t]]] if t >= 40 else [])
        assert len(parts) == 1 + (t >= 40)
        for part, told in zip(parts, said, strict=False):
            assert has(part, SHAPE_WORDS.get(SHAPES[told[0]], (SHAPES[told[0]],))) == (told[0] >= 0)
            assert has(part, (COLOURS[told[1]],)) == (told[1] >= 0)


def two_spheres():
    """A red sphere on the left of a blue one, near and far: (content, names of both)."""
    red, blue = ([SHAPES.index("sphere"), COLOURS.index(c), 0] for c in ("red", "blue"))
    things = torch.tensor([[red, blue, [-1, -1, -1]]])
    return Content(
        things,
        torch.tensor([[True, True, False]]),
        across=torch.tensor([[0.3, 0.6, 0.0]]),
        depth=torch.tensor([[8.0, 9.0, 0.0]]),
    )


def about(first, relation, second):  # a caption "a red thing ... a blue thing"
    row = [[ANY, COLOURS.index(colour), ANY] for colour in (first, second)]
    return Captions(
        torch.zeros(1, 1),
        torch.tensor(row[:1]),
        torch.tensor(row[1:]),
        torch.tensor([RELATIONS.index(relation)]),
    )


def test_relations_hold_as_a_person_would_say():
    content = two_spheres()
    for first, relation, second, is_true in (
        ("red", "left of", "blue", True),
        ("red", "right of", "blue", False),
        ("blue", "right of", "red", True),
        ("red", "in front of", "blue", True),
        ("red", "behind", "blue", False),
        ("blue", "behind", "red", True),
        ("red", "left of", "green", False),
    ):
        assert true_of_crops(about(first, relation, second), content).item() == is_true


def test_left_and_right_are_exchanged_in_a_mirrored_crop(pairs):
    two = two_spheres()
    n_things = pairs.things.shape[1]
    masks = torch.zeros(1, 2, HEIGHT, WIDTH, dtype=torch.uint8)
    masks[:, 0, 60:120, 50:100], masks[:, 0, 60:120, 130:180] = 1, 2
    things = torch.full((1, n_things, 3), -1)
    places = torch.zeros(1, 2, n_things, 2)
    things[:, :2] = two.things[:, :2]
    places[:, 0, :2] = torch.stack([two.across, two.depth], dim=-1)[:, :2]
    pictures = replace(pairs, masks=masks, things=things, places=places)
    for half_width in (1.0, -1.0):
        whole = Crops(torch.zeros(1, 2), torch.tensor([[half_width, 1.0]]))
        content, _ = look_into(pictures, whole)
        assert content.shown[0].tolist() == [True, True] + [False] * (n_things - 2)
        for relation, in_picture in (("left of", True), ("right of", False)):
            is_true = true_of_crops(about("red", relation, "blue"), content).item()
            assert is_true == (in_picture == (half_width > 0))
        assert true_of_crops(about("red", "in front of", "blue"), content).item()
