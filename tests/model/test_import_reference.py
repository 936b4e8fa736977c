"""Names of the published code are spelled out here once more, the other way round."""

import logging
import re
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from gsn.model.checkpoint import load_checkpoint
from gsn.model.import_reference import import_reference, main

PARTS = {"encoder": "feature_net", "renderer": "net_coarse", "feature_head": "dino"}
MODULES = {
    "encoder": {"stem": "conv1", "stem_norm": "bn1", "out": "out_conv"}
    | {f"stage{i}": f"layer{i}" for i in (1, 2, 3)}
    | {f"up{i}": f"upconv{i}.conv" for i in (2, 3)}
    | {f"merge{i}": f"iconv{i}" for i in (2, 3)},
    "renderer": {"embed": "rgbfeat_fc", "view_blocks": "view_crosstrans", "norm": "norm"}
    | {"ray_blocks": "view_selftrans", "direction_mlp": "hviews_fc", "rgb": "rgb_fc"},
    "feature_head": {"view_block": "view_trans", "ray_block": "ray_trans", "norm": "norm"}
    | {"output": "dinofc"},
}
LAYERS = {"attention_norm": "attn_norm", "feed_norm": "ff_norm", "query": "attn.q_fc"}
LAYERS |= {"key": "attn.k_fc", "value": "attn.v_fc", "position": "attn.pos_fc"}
LAYERS |= {"score": "attn.attn_fc", "output": "attn.out_fc", "shortcut": "downsample"}
FEED = {"grow": "ff.fc1", "shrink": "ff.fc2"}


def published_name(part, rest):
    first, *others = rest.split(".")
    if first == "position_mlps":  # the published list has one entry for each block
        return ".".join(["q_fcs", str(2 * int(others[0])), *others[1:]])
    names = [MODULES[part][first]]
    for name in others:
        if name == "feed":
            continue
        found = FEED.get(name) or LAYERS.get(name, name)
        if part == "encoder" and re.fullmatch(r"norm\d?", name):
            found = name.replace("norm", "bn")
        names.append(found)
    return ".".join(names)


def published(model):
    """The checkpoint that the published code would write of this model."""
    content = {}
    for key, value in model.state_dict().items():
        part, rest = key.split(".", 1)
        content.setdefault(PARTS[part], {})[published_name(part, rest)] = value.clone()
    return content


@pytest.fixture
def saved(tmp_path, make_model):
    """Write a published checkpoint, changed by a function, and return its path."""

    def save(change=lambda content: None, model=None):
        content = published(model or make_model(4, parity=True))
        changed = change(content)
        torch.save(content if changed is None else changed, tmp_path / "in.pth")
        return tmp_path / "in.pth"

    return save


SHAPES = [
    {},
    {"width": 32, "depth": 3, "encoder_width": 6, "encoder_channels": 7},
    {"depth": 1, "encoder_blocks": (2, 1, 3)},
]


@pytest.mark.parametrize("channels", [None, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_and_sizes_come_back(saved, make_model, make_config, channels, shape):
    model = make_model(channels, parity=True, **shape)
    found = import_reference(saved(model=model), samples=17, heads=2)
    expected = make_config(parity=True, **({"samples": 17, "dropout": 0.1} | shape))
    assert found.model_config == expected
    assert found.feature_channels == channels
    assert found.weights.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(found.weights[key], value), key
    assert (found.step, found.train_scenes, found.training) == (0, [], {})
    built = found.build_model(torch.device("cpu"))
    assert (built.feature_head is None) == (channels is None)


def test_the_published_numbers_of_samples_and_heads_are_assumed(saved, make_model):
    config = import_reference(saved(model=make_model(parity=True, heads=4))).model_config
    assert (config.samples, config.heads) == (192, 4)
    assert config.parity and config.inverse_depth


def test_weights_of_a_distributed_run_have_a_prefix_that_is_dropped(saved, make_model):
    def wrap(content):
        for part in content:
            content[part] = {f"module.{key}": value for key, value in content[part].items()}

    assert (
        import_reference(saved(wrap)).weights.keys()
        == make_model(4, parity=True).state_dict().keys()
    )


def test_optimiser_and_scheduler_in_the_file_do_not_matter(saved, make_model):
    model = make_model(4, parity=True)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 50_000, 0.5)
    model.renderer.rgb.weight.square().sum().backward()
    optimiser.step()

    def add(content):
        content["optimizer"] = optimiser.state_dict()
        content["scheduler"] = scheduler.state_dict()

    found = import_reference(saved(add, model))
    assert torch.equal(found.weights["renderer.rgb.weight"], model.renderer.rgb.weight)


def drop(part, key):
    def change(content):
        del content[part][key]

    return change


def put(part, key, value):
    return lambda content: content[part].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("net_coarse", "rgb_fc.weight"), r"missing renderer\.rgb\.weight"),
        (drop("feature_net", "out_conv.bias"), r"missing encoder\.out\.bias"),
        (drop("dino", "ray_trans.attn.v_fc.weight"), r"missing feature_head\.ray_block\.value"),
        (put("net_coarse", "mood.weight", torch.zeros(1)), r"unknown renderer\.mood\.weight"),
        (put("net_coarse", "rgb_fc.bias", torch.zeros(4)), r"rgb\.bias is \(4,\), expected \(3,\)"),
        # Only every second block has a position network.
        (
            put("net_coarse", "q_fcs.1.2.bias", torch.zeros(16)),
            r"unknown renderer\.q_fcs\.1\.2\.bias",
        ),
    ],
)
def test_a_weight_that_is_missing_unknown_or_of_another_shape_is_named(saved, change, message):
    with pytest.raises(ValueError, match=rf"in\.pth: 1 weights do not fit.*{message}"):
        import_reference(saved(change))


def as_gnt(content):
    """GNT tells the position network the direction, and has no direction network."""
    renderer = content["net_coarse"]
    for key in list(renderer):
        if key.startswith("hviews_fc"):
            del renderer[key]
    renderer["q_fcs.0.0.weight"] = torch.zeros(16, 16 + 63 + 63)
    del content["dino"]


def as_ibrnet(content):
    return {
        "feature_net": content["feature_net"],
        "net_coarse": {"ray_dir_fc.0.weight": torch.zeros(16, 4)},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (as_gnt, r"GNT and IBRNet checkpoints are other networks"),
        (as_ibrnet, r"not the GSN transformer network: no weight 'renderer\.embed\.0\.weight'"),
        (lambda c: c | {"net_fine": {"rgb_fc.bias": torch.zeros(3)}}, r"has a fine network"),
        (lambda c: {"feature_net": c["feature_net"]}, r"missing: \['net_coarse'\]"),
        (lambda c: [c["feature_net"]], r"missing: \['feature_net', 'net_coarse'\]"),
        (lambda c: c | {"net_coarse": torch.zeros(3)}, r"'net_coarse' is no dict of weights"),
        (lambda c: c | {"dino": {"dinofc.weight": 3}}, r"'dino' is no dict of weights"),
    ],
)
def test_checkpoints_of_other_networks_are_refused(saved, change, message):
    with pytest.raises(ValueError, match=rf"in\.pth: .*{message}"):
        import_reference(saved(change))


class Trap:
    """Runs a command where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_objects_are_refused_and_not_run(saved, tmp_path):
    path = saved(lambda content: content | {"optimizer": Trap(tmp_path / "sprung")})
    with pytest.raises(ValueError, match=r"in\.pth: not a readable checkpoint"):
        import_reference(path)
    assert not (tmp_path / "sprung").exists()


def run(*arguments):
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_writes_a_model_file(saved, tmp_path):
    out = tmp_path / "out.pt"
    result = run(saved(), out, "--samples", 9, "--heads", 2)
    assert result.exit_code == 0
    config = load_checkpoint(out).model_config
    assert (config.samples, config.heads, config.parity) == (9, 2, True)


def test_the_command_says_in_a_line_what_is_wrong_and_writes_nothing(tmp_path, caplog):
    with caplog.at_level(logging.ERROR):
        result = run(tmp_path / "absent.pth", tmp_path / "out.pt")
    assert result.exit_code == 1
    assert "absent.pth: no such checkpoint" in caplog.text
    assert not (tmp_path / "out.pt").exists()
