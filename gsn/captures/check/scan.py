"""Captures found in a folder → the section `scenes` of the settings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from gsn.captures.check.check_capture import SceneReport
from gsn.captures.check.table import reasons
from gsn.captures.check.verdict import Verdict
from gsn.checks import find_twins
from gsn.edit_yaml import dumped, edited, in_lines
from gsn.scene_names import check_scene_name

SECTION = "scenes"
COMMENT = "folder names; the model learns from `train` and never sees `test`"


@dataclass(frozen=True)
class Split:
    """Which captures are for what."""

    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """Captures that can be named in the settings, and why the others cannot."""

    names: tuple[str, ...]
    skipped: Mapping[str, str]  # name → reason


def select(reports: Sequence[SceneReport]) -> Selection:
    """Leave out captures that cannot be used, or whose names no scene can have."""
    twins = set(find_twins(report.name for report in reports))
    skipped = {}
    for report in reports:
        reason = None
        if report.verdict is Verdict.UNUSABLE:
            reason = reasons(report)
        elif report.name in twins:
            reason = "another folder has this name but for upper and lower case: rename one"
        else:
            reason = _fault_of_name(report.name)
        if reason is not None:
            skipped[report.name] = reason
    names = tuple(report.name for report in reports if report.name not in skipped)
    return Selection(names, skipped)


def split_scenes(names: Sequence[str], every: int, test: Collection[str]) -> Split:
    """Divide captures between training and test.

    Args:
        names: All captures, in the order of their names.
        every: Each of this number is for the test, the last one if there are fewer; 0 is none.
        test: If not empty, these are for the test instead.

    Raises:
        ValueError: There is no capture, `every` is 1 or negative, a name in `test` is not among
            `names`, or nothing is left to learn from.
    """
    if not names:
        raise ValueError("no capture can be used: `check` shows what is wrong with each")
    if every < 0 or every == 1:
        raise ValueError(f"every {every}: expected 0 or at least 2, else nothing is left to train")
    unknown = sorted(set(test) - set(names))
    if unknown:
        raise ValueError(f"for the test: {unknown}, expected names of: {', '.join(names)}")
    chosen = set(test)
    if not chosen and every:
        chosen = set(names[every - 1 :: every]) or set(names[1:][-1:])
    train = tuple(name for name in names if name not in chosen)
    if not train:
        raise ValueError("all captures are for the test: leave at least one to learn from")
    return Split(train, tuple(name for name in names if name in chosen))


def section_text(split: Split) -> str:
    """Return the section as it stands in a settings file."""
    section = CommentedMap({SECTION: _lists(split)})
    section.yaml_add_eol_comment(COMMENT, SECTION, column=0)
    return dumped(section)


def write_section(params: Path, split: Split) -> None:
    """Replace the scenes in a settings file; all else stays, comments too.

    Raises:
        ValueError: The file is no settings file.
        OSError: It cannot be read or written.
    """
    with edited(params) as settings:
        if isinstance(settings.get(SECTION), dict):
            settings[SECTION].update(_lists(split))
        else:
            settings[SECTION] = _lists(split)


def _lists(split: Split) -> CommentedMap:
    return CommentedMap({"train": in_lines(split.train), "test": in_lines(split.test)})


def _fault_of_name(name: str) -> str | None:
    try:
        check_scene_name(name)
    except ValueError as error:
        return f"{error}: rename the folder"
    return None
