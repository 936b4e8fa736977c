import pytest
import torch
import typer
from typer.testing import CliRunner

from gsn.model.checkpoint import Checkpoint
from pipeline import distill, pretrain

STAGES = [pretrain, distill]


@pytest.fixture
def arguments(tmp_path, write_params, write_photographs, make_model):
    """Arguments of both stages, by name; packs hold nothing to learn from."""
    write_params(tmp_path / "params.yaml", {})
    (tmp_path / "prepared").mkdir()
    for name in "abc":
        write_photographs(tmp_path / "prepared" / f"{name}.h5", [name])
    model = make_model()
    start = tmp_path / "start.pt"
    Checkpoint(model.config, model.state_dict(), 0, [], photographs={}).save(start)
    options = ["--params", str(tmp_path / "params.yaml"), "--device", "cpu"]
    out = [str(tmp_path / "out.pt"), str(tmp_path / "curves")]
    return {
        pretrain: [str(tmp_path / "prepared"), *out, *options],
        distill: [str(tmp_path / "prepared"), str(tmp_path / "t"), str(start), *out, *options],
    }


def run(stage, arguments):
    app = typer.Typer()
    app.command()(stage.main)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("options", "limit"), [([], None), (["--resident-bytes", "77"], 77)])
def test_the_command_line_limits_what_lives_on_the_device(
    arguments, monkeypatch, stage, options, limit
):
    asked = []

    def load(packs, device, targets=None, limit_bytes=None):
        asked.append(([pack.stem for pack in packs], device, limit_bytes))
        raise ValueError("enough seen")

    monkeypatch.setattr(stage, "load_scenes", load)
    assert str(run(stage, [*arguments[stage], *options]).exception) == "enough seen"
    assert asked == [(["a", "b"], torch.device("cpu"), limit)]
