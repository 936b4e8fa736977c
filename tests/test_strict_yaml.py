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


@pytest.mark.parametrize("text", ["a: [", "a: 0b_", b"a: \xff", "? [1]\n: 2"])
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


LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 10)}]}}\n" for k in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 100000 values"),
        (MERGES, "more than 100000 values"),
        ("a: [" + "1," * 200_000 + "]", "more than 100000 values"),
        ("a: &x [*x]", "alias 'x' stands in itself"),
        ("a: &x {b: *x}", "alias 'x' stands in itself"),
        ("[" * 100_000, "more than 32 levels deep"),
        ("a: " + "{a: " * 5000, "more than 32 levels deep"),
        ("- " * 5000, "more than 32 levels deep"),
        ("a: !!python/object/apply:os.system [ls]", "tag 'tag:.*os.system' is not read"),
        ("a: !!binary AAAA", "tag 'tag:.*binary' is not read"),
        ("a: !!bool x", "tag 'tag:.*bool' is not read"),
        ("a: !mine x", "tag '!mine' is not read"),
        ("1: a", "key '1' is no text: put it in quotes"),
        ("no: a", "key 'no' is no text"),
        ('"a\\0": 1', r"key 'a\\x00' has control characters"),
        ("{a: 1}: a", "key a list or mapping is no text"),
        ("a: " + "9" * 900_000, "a number of 900000 characters"),
        ("a: 1" + ":1" * 300_000, "a number of 600001 characters"),
        ("a: 1" + ":1" * 499 + ".5", "a number of 1001 characters"),
        ("a: 1" + ":1" * 400 + ".5", "would be read to the base of 8 or 60"),
        ("a: 0x_", "'0x_' cannot be read as int .invalid literal"),
        ("a:\n\t- 1", r"found character '\\t' that cannot start any token"),
        ("a: \0", "unacceptable character"),
        ("a: *x", "undefined alias 'x'"),
        ("*" + "x" * 9000, r"xxx\.\.\.$"),
        ("a: 1\n--- b", "a single document"),
    ],
)
def test_hostile_text_is_broken_at_once(text, message):
    with pytest.raises(ValueError, match="^broken YAML: .*" + message) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 600


def test_a_text_beyond_a_mebibyte_is_not_parsed():
    with pytest.raises(ValueError, match="1048577 bytes of YAML, expected at most 1048576"):
        parse_yaml("#" * (2**20 + 1))
    assert parse_yaml("#" * 2**20) is None


def test_short_aliases_and_merge_keys_are_followed():
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nlist: [*base]"
    base, more = {"a": 1, "b": 2}, {"a": 1, "b": 3}
    assert parse_yaml(text) == {"base": base, "more": more, "list": [base]}


@pytest.mark.parametrize("text", ["", "# nothing", "---"])
def test_an_empty_text_is_nothing(text):
    assert parse_yaml(text) is None


def test_a_byte_order_mark_does_no_harm():
    assert parse_yaml("\ufeffa: 1") == parse_yaml("a: 1".encode("utf-16")) == {"a": 1}


def test_a_date_stays_the_text_that_it_is():
    assert parse_yaml("[2020-01-01, 2020-13-45]") == ["2020-01-01", "2020-13-45"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**63, r"key 'leaf\.size_px': expected a number of at most 64 bits, got 92233"),
        (-(10**400), r"key 'leaf\.size_px': expected a number of at most 64 bits, got -1000"),
        (float("inf"), r"key 'leaf\.size_px': expected a finite number, got inf"),
        (float("nan"), r"key 'leaf\.size_px': expected a finite number, got nan"),
        ("a\0b", r"expected a text without control characters, got 'a\\x00b'"),
        ("\ud800", r"expected a text without control characters, got '\\ud800'"),
    ],
)
def test_a_value_that_no_setting_can_have_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        validate({"name": "oak", "pair": [1, 2], "leaf": {"size_px": value}}, Tree)


def test_the_largest_number_of_64_bits_is_a_number():
    assert validate({"size_px": 2**63 - 1}, Leaf) == Leaf(2**63 - 1)


def test_of_many_faults_a_dozen_is_told():
    with pytest.raises(ValueError, match=r"unknown key 'k9' .*; and 9 more$") as caught:
        validate({"size_px": 1} | {f"k{k}": 1 for k in range(21)}, Leaf)
    assert str(caught.value).count("unknown key") == 12


@pytest.mark.parametrize("number", ["010", "-0_17", "1:30", "+1:30:00", "190:20:30.15"])
def test_numbers_to_other_bases_are_refused_and_may_be_texts(number):
    with pytest.raises(ValueError, match="base of 8 or 60: write it plainly"):
        parse_yaml(f"hold: {number}")
    assert parse_yaml(f"hold: '{number}'") == {"hold": number}
    assert parse_yaml("[0, 10, -0, 0.5, 0x10]") == [0, 10, 0, 0.5, 16]
