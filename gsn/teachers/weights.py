"""Weights of a network: read from files of trained ones, loaded strictly, hashed."""

import argparse
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gsn.fingerprint import sha256_of_array, sha256_of_file
from gsn.teachers.teacher import HUB, SEEDED, TeacherConfig

PARTS = ("teacher", "student", "state_dict", "model")  # of checkpoints: the first one is taken
WRAPPERS = ("module.", "backbone.")  # before the names in a training checkpoint, in any order
SHOWN = 3  # names in a message


def unchanged(
    weights: dict[str, Tensor],
    network: Any,  # noqa: ANN401  (networks of timm and open_clip have no types)
) -> dict[str, Tensor]:
    """Return a state dict that already has the network's names."""
    return weights


def build_network(
    config: TeacherConfig,
    create: Callable[[bool], Any],
    wanted: str,
    convert: Callable[[dict[str, Tensor], Any], Mapping[str, Tensor]] = unchanged,
) -> tuple[Any, dict[str, object]]:
    """Build a network with the weights that `config` asks for.

    Args:
        config: Section `teacher`.
        create: Makes the network, with weights from the hub if told so, else with random ones.
        wanted: File that a user without network should get, and where from, for the message.
        convert: Brings a state dict read from a file, in any published layout, to the network's
            own names.

    Returns:
        The network, frozen, and what its weights are, for the fingerprint.

    Raises:
        ValueError: The weights file does not fit the network.
        FileNotFoundError: The weights are neither on this machine nor within reach.
    """
    source: dict[str, object]
    # A new network draws random numbers, also when trained ones replace them; nobody else's
    # random numbers may depend on that.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)  # and no CUDA one
        if config.weights == HUB:
            network = _from_hub(config.name, create, wanted)
            source = {"source": HUB, "sha256": sha256_of_weights(network)}
        elif config.weights == SEEDED:
            network = create(False)
            source = {"source": SEEDED, "seed": config.seed, "sha256": sha256_of_weights(network)}
        else:
            path = Path(config.weights).expanduser()
            if not path.is_file():  # before a large network is made
                raise FileNotFoundError(
                    f"teacher {config.name!r}: no file {config.weights!r} (from {Path.cwd()}); get "
                    f"{wanted}, put it into data/weights/ and give its path as `weights` of the "
                    f"teacher; or use {HUB!r} or {SEEDED!r}"
                )
            weights = read_weights(path)
            network = create(False)
            load_strictly(network, convert(weights, network), path)
            source = {"source": "file", "sha256": sha256_of_file(path)}
    source["trained"] = config.weights != SEEDED
    return network.eval().requires_grad_(False), source


def _from_hub(name: str, create: Callable[[bool], Any], wanted: str) -> Any:  # noqa: ANN401
    try:
        return create(True)
    except (OSError, ValueError, RuntimeError) as error:
        raise FileNotFoundError(
            f"teacher {name!r}: the hub gave no weights ({type(error).__name__}); get {wanted}, "
            "put it into data/weights/ and give its path as `weights` of the teacher, or use "
            f"{SEEDED!r} for untrained weights"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a `.safetensors` file or one that `torch.save` wrote.

    A DINO training checkpoint gives its teacher network (its student, where there is no teacher),
    less the prefixes of its wrappers and the projection head, which no map needs.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no state dict, or more than plain tensors and settings.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
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
    for part in PARTS:
        if isinstance(content, Mapping) and isinstance(content.get(part), Mapping):
            content = content[part] or content
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        found = sorted(map(str, content)) if isinstance(content, Mapping) else type(content)
        raise ValueError(f"{path}: expected a state dict of tensors, found {found}")
    weights = {str(name): value for name, value in content.items()}
    for branch in ("teacher.", "student."):  # both in one flat file
        if any(name.startswith(branch) for name in weights):
            found_there = {n: value for n, value in weights.items() if n.startswith(branch)}
            weights = {name.removeprefix(branch): value for name, value in found_there.items()}
    weights = {_unwrapped(name): value for name, value in weights.items()}
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
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
