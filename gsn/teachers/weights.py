"""Weights of a network: read from files of trained ones, loaded strictly, hashed."""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gsn.fingerprint import sha256_of_array

WRAPPERS = ("module.", "backbone.")  # of a training checkpoint, in the order they are put on
SHOWN = 3  # names in a message


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a `.safetensors` file or one that `torch.save` wrote.

    A DINO training checkpoint gives its teacher network, less the prefixes of its wrappers and the
    projection head, which no map needs.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no state dict, or more than plain tensors and settings.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file; expected hub, seeded or a path")
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            # Training checkpoints carry their command line.
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, with advice that is not safe to follow
        raise ValueError(
            f"{path}: not a readable file of weights: expected what torch.save or safetensors "
            f"writes, with tensors and plain settings only ({type(error).__name__})"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("teacher"), Mapping):
        content = content["teacher"]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        found = sorted(map(str, content)) if isinstance(content, Mapping) else type(content)
        raise ValueError(f"{path}: expected a state dict of tensors, found {found}")
    weights = {_unwrapped(str(name)): value for name, value in content.items()}
    return {name: value for name, value in weights.items() if not name.startswith("head.")}


def load_strictly(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy the weights read from `path` into a network that has exactly these.

    Raises:
        ValueError: A tensor is missing, left over or of another shape; the message names it.
    """
    wanted = network.state_dict()
    faults = []
    if missing := [name for name in wanted if name not in weights]:
        faults.append(f"{len(missing)} tensors are missing ({_first(missing)})")
    if unknown := [name for name in weights if name not in wanted]:
        faults.append(f"{len(unknown)} are unknown ({_first(unknown)})")
    misfits = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    if misfits:
        faults.append(f"{len(misfits)} have another shape ({_first(misfits)})")
    if faults:
        raise ValueError(f"{path}: not the weights of this network: {'; '.join(faults)}")
    network.load_state_dict(weights)


def sha256_of_weights(network: nn.Module) -> str:
    """Hash names and values of all tensors of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {sha256_of_array(value.cpu().numpy())}\n".encode())
    return digest.hexdigest()


def _unwrapped(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
