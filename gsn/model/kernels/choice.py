"""Where the fast twins run. This file imports no Triton: it is asked on machines that have none."""

import importlib.util
import math
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch

_SMALLEST_CAPABILITY = (8, 0)  # bfloat16 on tensor cores
_WIDEST = 128  # a tile of wider rows has no room in registers and shared memory
_WIDEST_ANYWHERE = 64  # of observations: for 128, `merge_backward` takes `_WIDE_KIB`
_WIDE_KIB = 112
_ROOMY_KIB = 227  # of an H100; the least is 99
_DTYPES = (torch.bfloat16, torch.float32)


@cache
def kernels_run_on(device: torch.device) -> bool:
    """Return whether this device can run them: CUDA, of Ampere or later, and Triton is there.

    Not on ROCm, whose devices torch calls "cuda" too: nobody has tried them there.
    """
    if device.type != "cuda" or torch.version.hip or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _SMALLEST_CAPABILITY


def kernels_take(device: torch.device, appearance: int, observation: int, token: int) -> bool:
    """Return whether they support rows of these widths in the precision of autocast."""
    fits = observation <= _WIDEST_ANYWHERE or _shared_memory_kib(device) >= _WIDE_KIB
    return fits and compute_dtype(device) in _DTYPES and max(appearance, token) <= _WIDEST


def roomy() -> bool:
    """Return whether programs on the current GPU may have much shared memory.

    They may on those for data centres.
    """
    return _shared_memory_kib() >= _ROOMY_KIB


def _shared_memory_kib(device: torch.device | None = None) -> float:
    """Return how much a program may have; where kernels are interpreted, any amount."""
    if not torch.cuda.is_available():
        return math.inf
    properties: Any = torch.cuda.get_device_properties(device)
    return properties.shared_memory_per_block_optin / 1024  # type: ignore[no-any-return]


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the precision that autocast asks for on a device, float32 where it is off."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def launched_on(device: torch.device) -> AbstractContextManager[object]:
    """Make a device the current one: Triton asks for no other."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
