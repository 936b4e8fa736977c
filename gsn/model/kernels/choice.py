"""Where the fast twins run. This file imports no Triton: it is asked on machines that have none."""

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

_SMALLEST_CAPABILITY = (8, 0)  # bfloat16 on tensor cores
_WIDEST = 128  # a tile of wider rows has no room in registers and shared memory
_DTYPES = (torch.bfloat16, torch.float32)


@cache
def kernels_run_on(device: torch.device) -> bool:
    """Return whether this device can run them: CUDA, of Ampere or later, and Triton is there."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _SMALLEST_CAPABILITY


def kernels_take(dtype: torch.dtype, *widths: int) -> bool:
    """Return whether they support rows of these widths in this precision."""
    return dtype in _DTYPES and max(widths) <= _WIDEST


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the precision that autocast asks for on a device, float32 where it is off."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def launched_on(device: torch.device) -> AbstractContextManager[object]:
    """Make a device the current one: Triton asks for no other."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
