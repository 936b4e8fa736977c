import os
import subprocess
import sys
from pathlib import Path

import pytest

from gsn.teachers import torchvision_ops
from gsn.teachers.torchvision_ops import import_torchvision

# A torchvision whose compiled operators do not load: describing one of them fails.
WITHOUT_OPERATORS = """
import torch
import torchvision.ops

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets
"""
CHECK = """
import sys
from gsn.teachers.torchvision_ops import import_torchvision
try:
    import torchvision
except RuntimeError as error:
    print(error)
print(import_torchvision(), import_torchvision(), "torchvision.ops" in sys.modules)
"""


def test_missing_operators_are_declared_so_that_the_import_works(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(WITHOUT_OPERATORS)
    (package / "ops.py").write_text("")
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{CHECK}"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert run.stdout.splitlines() == [
        "operator torchvision::nms does not exist",
        "True False True",
    ], run.stderr


def test_timm_imports_here():
    import_torchvision()
    import timm

    assert timm.is_model("vit_small_patch8_224.dino")


def test_a_working_torchvision_is_left_alone(monkeypatch):
    libraries = list(torchvision_ops._libraries)
    monkeypatch.setattr(torchvision_ops.importlib, "import_module", lambda name: None)
    assert import_torchvision() is False
    assert torchvision_ops._libraries == libraries


@pytest.mark.parametrize("error", [RuntimeError("CUDA versions differ"), ImportError("no module")])
def test_other_faults_of_torchvision_are_shown(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(torchvision_ops.importlib, "import_module", fail)
    with pytest.raises(type(error), match=str(error)):
        import_torchvision()
