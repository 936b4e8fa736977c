"""Model files: weights with the settings they belong to, and what training needs to go on."""

import io
import logging
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from gsn.atomic import complete_or_absent
from gsn.model.network import GsnModel, ModelConfig
from gsn.seal import check_seal, has_seal, write_sealed

log = logging.getLogger(__name__)
_FORMAT = 2
_IMPORT = (
    "a checkpoint of the published code has to be imported first "
    "(python -m gsn.model.import_reference)"
)


class CheckpointError(ValueError):
    """A model file cannot be used; the message names it and says why."""


@dataclass
class Checkpoint:
    """One model file.

    `training` holds what `gsn.training.loop` needs to continue: settings, optimiser, random
    states, curves. It is empty in an imported model.
    """

    model_config: ModelConfig
    weights: dict[str, torch.Tensor]
    step: int
    train_scenes: list[str]  # every scene the weights have seen, for leakage checks
    feature_channels: int | None = None  # None: stage I, without a feature head
    basis_sha256: dict[str, str] = field(default_factory=dict)  # of the targets, by file name
    training: dict[str, Any] = field(default_factory=dict)
    photographs: dict[str, list[str]] = field(default_factory=dict)  # hashes, by training scene

    def save(self, path: Path) -> None:
        """Write a sealed file, whole or not at all; equal content gives equal bytes."""
        content = {**vars(self), "model_config": asdict(self.model_config), "format": _FORMAT}
        file = io.BytesIO()
        torch.save(_without_aliases(content), file)
        with complete_or_absent(path) as partial:
            write_sealed(partial, file.getbuffer())

    def check_finished(self, path: Path) -> None:
        """Refuse a run that stopped on its way; an imported model, or one without an end, is none.

        Raises:
            CheckpointError: There are steps left to take.
        """
        if not self.training.get("fingerprint"):
            return
        max_steps = self.training["config"]["max_steps"]
        if self.step < max_steps:
            raise CheckpointError(f"{path}: training stopped at step {self.step} of {max_steps}")

    def build_model(self, device: torch.device) -> GsnModel:
        """Return the model with these weights, in evaluation mode.

        Raises:
            RuntimeError: The weights do not fit the settings.
        """
        model = GsnModel(self.model_config, self.feature_channels)
        model.load_state_dict(self.weights)
        return model.to(device).eval()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a model file; nothing in it is executed.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, or not one of ours.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    if not has_seal(path):
        raise CheckpointError(
            f"{path}: not a model file of this version, or cut short: it does not end with its "
            f"checksum; {_IMPORT}"
        )
    check_seal(path, CheckpointError)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path}: not a readable model file ({error})") from error
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise CheckpointError(f"{path}: not a model file of format {_FORMAT}; {_IMPORT}")
    try:
        content["model_config"] = ModelConfig(**content["model_config"])
        return Checkpoint(**content)
    except (KeyError, TypeError, ValueError) as error:  # fields of another version
        raise CheckpointError(f"{path}: not a model file of this version ({error!r})") from error


def load_stage_one(model: GsnModel, checkpoint: Checkpoint) -> None:
    """Give a model with a feature head the weights of stage I; the head keeps its fresh ones.

    Raises:
        ValueError: The checkpoint lacks or adds anything but the head.
    """
    result = model.load_state_dict(
        {k: v for k, v in checkpoint.weights.items() if not k.startswith("feature_head.")},
        strict=False,
    )
    missing = [key for key in result.missing_keys if not key.startswith("feature_head.")]
    if missing or result.unexpected_keys:
        raise ValueError(f"stage I weights: missing {missing}, unknown {result.unexpected_keys}")
    log.info("stage I of step %d; the feature head starts fresh", checkpoint.step)


def _without_aliases(value: Any) -> Any:  # noqa: ANN401  (any nest of plain values and tensors)
    """Rebuild a nest so that only equal strings are one object.

    Pickle writes an object that comes again as a reference to the first; which equal objects are
    the same one would tell a resumed run from an undisturbed one.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {_without_aliases(key): _without_aliases(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_aliases(item) for item in value)
    return value
