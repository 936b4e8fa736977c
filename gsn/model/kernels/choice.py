"""Where the fast twins run. This file imports no Triton: it is asked on machines that have none."""

import importlib.util

import torch

_SMALLEST_CAPABILITY = (8, 0)  # bfloat16 on tensor cores
_WIDEST = 128  # of tokens: a tile of wider ones has no room in registers and shared memory


def kernels_run_on(device: torch.device) -> bool:
    """Return whether this device can run them: CUDA, of Ampere or later, and Triton is there."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _SMALLEST_CAPABILITY


def kernels_take(width: int) -> bool:
    """Return whether they support tokens of this width, teacher channels included."""
    return width <= _WIDEST


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the precision that autocast asks for on a device, float32 where it is off."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32
