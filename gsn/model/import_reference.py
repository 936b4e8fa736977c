"""Read a checkpoint of the published GSN code into a model file of this project.

    python -m gsn.model.import_reference IN.pth OUT.pt

The file is a dict with `net_coarse` (renderer), `feature_net` (encoder) and, from stage II,
`dino` (feature head). Sizes follow from the shapes of the weights; the number of attention heads
and of samples does not, so both can be given. The model runs in `parity` mode.
"""

import logging
import re
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from gsn.model.checkpoint import Checkpoint
from gsn.model.network import GsnModel, ModelConfig

log = logging.getLogger(__name__)
Weights = dict[str, Tensor]

# (published name, our name), applied in this order to the start or middle of a key.
_BLOCK = [
    (r"attn_norm\.", "attention_norm."),
    (r"ff_norm\.", "feed_norm."),
    (r"ff\.fc1\.", "feed.grow."),
    (r"ff\.fc2\.", "feed.shrink."),
    (r"attn\.q_fc\.", "query."),
    (r"attn\.k_fc\.", "key."),
    (r"attn\.v_fc\.", "value."),
    (r"attn\.pos_fc\.", "position."),
    (r"attn\.attn_fc\.", "score."),
    (r"attn\.out_fc\.", "output."),
]
_RENAMES = {
    "net_coarse": (
        "renderer.",
        [
            (r"^rgbfeat_fc\.", "embed."),
            (r"^view_crosstrans\.", "view_blocks."),
            (r"^view_selftrans\.", "ray_blocks."),
            (r"^hviews_fc\.", "direction_mlp."),
            (r"^rgb_fc\.", "rgb."),
            *_BLOCK,
        ],
    ),
    "feature_net": (
        "encoder.",
        [
            (r"^conv1\.", "stem."),
            (r"^bn1\.", "stem_norm."),
            (r"^layer(\d)\.", r"stage\1."),
            (r"downsample\.", "shortcut."),
            (r"^upconv(\d)\.conv\.", r"up\1."),
            (r"^iconv(\d)\.", r"merge\1."),
            (r"^out_conv\.", "out."),
            (r"\.bn(\d?)\.", r".norm\1."),
        ],
    ),
    "dino": (
        "feature_head.",
        [
            (r"^view_trans\.", "view_block."),
            (r"^ray_trans\.", "ray_block."),
            (r"^dinofc\.", "output."),
            *_BLOCK,
        ],
    ),
}


def import_reference(path: Path, samples: int = 192, heads: int = 4) -> Checkpoint:
    """Convert a published checkpoint.

    Args:
        path: File with a dict of state dicts, with or without optimiser state.
        samples: Samples per ray that the model is to use.
        heads: Attention heads of the ray blocks.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a checkpoint of the transformer network, or a weight is missing,
            unknown or of the wrong shape.
    """
    content = _load(path)
    weights: Weights = {}
    for part in ("feature_net", "net_coarse", "dino"):
        if part in content:
            weights |= _rename(part, content[part])
    config = _infer_config(path, weights, samples, heads)
    channels = weights.get("feature_head.output.weight")
    checkpoint = Checkpoint(
        model_config=config,
        weights=weights,
        step=0,
        train_scenes=[],
        feature_channels=None if channels is None else len(channels),
    )
    _check(path, checkpoint)
    return checkpoint


def _load(path: Path) -> dict[str, Weights]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        content: dict[str, Weights] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"{path}: not a readable checkpoint ({error})") from error
    missing = {"net_coarse", "feature_net"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise ValueError(
            f"{path}: expected a dict with 'net_coarse' and 'feature_net' as the published code "
            f"writes it; missing: {sorted(missing)}"
        )
    if content.get("net_fine"):
        raise ValueError(f"{path}: has a fine network ('net_fine'), which GSN never trained")
    for part in _RENAMES.keys() & content.keys():
        weights = content[part]
        if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
            raise ValueError(f"{path}: {part!r} is no dict of weights")
    return content


def _rename(part: str, weights: Weights) -> Weights:
    """Give the weights of one part our names."""
    prefix, renames = _RENAMES[part]
    renamed = {}
    for key, value in weights.items():
        name = key.removeprefix("module.")
        # The published list of position networks has one for every block; odd ones are empty.
        if (listed := re.match(r"q_fcs\.(\d*[02468])\.", name)) is not None:
            name = f"position_mlps.{int(listed[1]) // 2}." + name[listed.end() :]
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        renamed[prefix + name] = value
    return renamed


def _infer_config(path: Path, weights: Weights, samples: int, heads: int) -> ModelConfig:
    """Read the sizes of the network off its weights."""
    try:
        stem = weights["encoder.stem.weight"]
        embed = weights["renderer.embed.0.weight"]
    except KeyError as error:
        raise ValueError(f"{path}: not the GSN transformer network: no weight {error}") from error
    return ModelConfig(
        encoder_width=len(stem),
        encoder_blocks=tuple(_count(weights, f"encoder.stage{i}.") for i in (1, 2, 3)),  # type: ignore[arg-type]
        encoder_channels=embed.shape[1] - 3,
        width=len(embed),
        depth=_count(weights, "renderer.view_blocks."),
        heads=heads,
        samples=samples,
        inverse_depth=True,
        dropout=0.1,
        parity=True,
    )


def _count(weights: Weights, prefix: str) -> int:
    """Return how many numbered modules stand behind a prefix."""
    return len({key[len(prefix) :].split(".")[0] for key in weights if key.startswith(prefix)})


def _check(path: Path, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose weights are not exactly those of the model."""
    expected = GsnModel(checkpoint.model_config, checkpoint.feature_channels).state_dict()
    found = checkpoint.weights
    problems = [f"missing {key}" for key in expected.keys() - found.keys()]
    problems += [f"unknown {key}" for key in found.keys() - expected.keys()]
    problems += [
        f"{key} is {tuple(found[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in expected.keys() & found.keys()
        if expected[key].shape != found[key].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:5])
        raise ValueError(
            f"{path}: {len(problems)} weights do not fit the GSN network ({shown}); GNT and IBRNet "
            "checkpoints are other networks and cannot be imported"
        )


def main(
    source: Annotated[Path, typer.Argument(help="Checkpoint of the published code.")],
    target: Annotated[Path, typer.Argument(help="Model file to write.")],
    samples: Annotated[int, typer.Option(help="Samples per ray.")] = 192,
    heads: Annotated[int, typer.Option(help="Attention heads of the ray blocks.")] = 4,
) -> None:
    """Convert a published GSN checkpoint into a model file of this project."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        checkpoint = import_reference(source, samples, heads)
    except (ValueError, FileNotFoundError) as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    checkpoint.save(target)
    stage = "II" if checkpoint.feature_channels else "I"
    log.info("%s: stage %s model, %s", target, stage, checkpoint.model_config)


if __name__ == "__main__":
    typer.run(main)
