import runpy
import sys

import pytest

from gsn.teachers import TEACHERS
from gsn.teachers.__main__ import HEADINGS, table
from gsn.teachers.teacher import TeacherCard, TeacherEntry


def test_the_command_prints_a_line_for_each_teacher(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gsn.teachers", "list"])
    monkeypatch.delitem(sys.modules, "gsn.teachers.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("gsn.teachers", run_name="__main__")
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == " ".join(HEADINGS).split()
    assert lines[1].split()[1] == "demo"
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(TEACHERS)
    assert max(map(len, lines)) <= 140
    assert [line.split() for line in lines if line.startswith("dinov3_vits16plus ")] == [
        ["dinov3_vits16plus", "DINOv3", "384", "16", "DINOv3", "License",
         "timm/vit_small_plus_patch16_dinov3.lvd1689m", "28.7", "M"]
    ]  # fmt: skip


def test_families_are_in_the_order_of_the_registry_then_of_size_and_columns_are_aligned():
    def entry(family, parameters, channels=8):
        card = TeacherCard(
            family,
            channels,
            16,
            parameters,
            "MIT",
            "shipped",
        )
        return TeacherEntry(card, build=None)

    teachers = {
        "zebra": entry("B", 1_000_000),
        "bee": entry("A", 900_000_000),
        "ant": entry("B", 25_449_999, channels=1024),
    }
    assert table(teachers) == [
        "name   family  channels  patch  licence  weights from  parameters",
        "zebra  B              8     16  MIT      shipped            1.0 M",
        "ant    B           1024     16  MIT      shipped           25.4 M",
        "bee    A              8     16  MIT      shipped          900.0 M",
    ]
