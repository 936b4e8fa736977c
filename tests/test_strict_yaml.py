from dataclasses import field

import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from gsn.strict_yaml import parse_yaml, shown, validate

STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=STRICT)
class Leaf:
    size_px: int


@dataclass(frozen=True, config=STRICT)
class Tree:
    name: str
    pair: tuple[float, float]
    leaf: Leaf = field(default_factory=lambda: Leaf(0))


def test_a_mapping_becomes_the_dataclass():
    content = parse_yaml("name: oak\npair: [1, 5e-4]\nleaf: {size_px: 3}")
    assert validate(content, Tree) == Tree("oak", (1.0, 5e-4), Leaf(3))


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "x: {a: 1, a: 1}"])
def test_a_key_that_stands_twice_is_broken(text):
    with pytest.raises(ValueError, match="broken YAML: key 'a' stands twice"):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["a: [", "a: 2020-13-45", b"a: \xff", "? [1]\n: 2"])
def test_what_cannot_be_parsed_is_broken(text):
    with pytest.raises(ValueError, match="broken YAML: "):
        parse_yaml(text)


def test_all_faults_are_told_at_once():
    with pytest.raises(ValueError) as caught:
        validate({"pair": [1, "x"], "leaf": {"size": 3}, "colour": 1}, Tree, Leaf)
    faults = str(caught.value).split("; ")
    assert "key 'name' is missing" in faults
    assert "key 'leaf.size_px' is missing" in faults
    assert "unknown key 'leaf.size' (known: size_px)" in faults
    assert "unknown key 'colour' (known: name, pair, leaf)" in faults
    assert any(fault.startswith("key 'pair.1': ") and "got 'x'" in fault for fault in faults)


def test_a_number_in_place_of_a_text_gets_a_hint():
    with pytest.raises(ValueError, match=r"key 'name': .*got 7: put it in quotes"):
        validate({"name": 7, "pair": [1, 2]}, Tree)


def test_long_values_are_cut():
    assert shown("x" * 500) == "'" + "x" * 76 + "..."
    assert shown([1, 2]) == "[1, 2]"
