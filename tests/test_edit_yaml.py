import pytest
import yaml

from gsn.edit_yaml import dumped, edited, in_lines
from gsn.strict_yaml import parse_yaml

TEXT = """\
# What the author said.
scenes: # why
  train: [a, 'b']   # these
  deep:
    - "x"

nothing: null
other: 1.50
"""


def test_what_is_not_changed_stays_as_its_author_wrote_it(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(TEXT)
    with edited(path) as settings:
        settings["other"] = 2
    assert path.read_text() == TEXT.replace("1.50", "2")


def test_a_block_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(TEXT)
    with pytest.raises(KeyError), edited(path) as settings:
        settings["other"] = 2
        settings["absent"]["key"] = 1
    assert path.read_text() == TEXT
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"a: [", b"a: \xff", b"- a", b"", b"a: 1\na: 2\n"])
def test_what_is_no_settings_file_is_refused_and_stays(tmp_path, content):
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.yaml: "), edited(path):
        pass
    assert path.read_bytes() == content


@pytest.mark.parametrize("text", ["yes", "off", "", "0x1F", "1.5", ".inf", "a,b", "!x", "&y", "é"])
def test_texts_stay_texts_in_every_parser(text):
    written = dumped({"list": in_lines([text, "plain"])})
    assert yaml.safe_load(written) == parse_yaml(written) == {"list": [text, "plain"]}
    assert written.startswith("list: [")
    assert written.endswith("plain]\n")
