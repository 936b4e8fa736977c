"""Settings files changed by a program: comments, order and quotes of their author stay.

Nothing, `~`, and null are all written null.
"""

from collections.abc import Generator, Iterable, MutableMapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from gsn.atomic import complete_or_absent
from gsn.strict_yaml import parse_yaml


@contextmanager
def edited(path: Path) -> Generator[MutableMapping[str, Any], None, None]:
    """Yield the sections of a settings file to be changed; they are written back at the end.

    Raises:
        ValueError: The file holds no YAML, or no sections.
        OSError: It cannot be read or written.
    """
    yaml = _yaml()
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: broken YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, MutableMapping):
        raise ValueError(f"{path}: expected sections `name: ...`")
    yield settings
    with complete_or_absent(path) as partial:
        yaml.dump(settings, partial)


def dumped(content: object) -> str:
    """Return YAML as `edited` would write it."""
    text = StringIO()
    _yaml().dump(content, text)
    return text.getvalue()


def in_lines(texts: Iterable[str]) -> CommentedSeq:
    """Return a list that is written `[a, b]` in full lines, and read back as texts by any parser.

    YAML 1.1, of PyYAML, takes words such as no and 1_000 for a truth value and a number.
    """
    listed = CommentedSeq(
        text if _stays(text) else DoubleQuotedScalarString(text) for text in texts
    )
    listed.fa.set_flow_style()
    return listed


def _stays(text: str) -> bool:
    try:
        return parse_yaml(text) == text
    except ValueError:
        return False


class _Representer(RoundTripRepresenter):
    def represent_null(self, _: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_null)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
