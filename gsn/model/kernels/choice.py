"""Where the fast twins run. This file imports no Triton: it is asked on machines that have none."""

import importlib.util

import torch

_SMALLEST_CAPABILITY = (8, 0)  # bfloat16 on tensor cores


def kernels_run_on(device: torch.device) -> bool:
    """Return whether this device can run them: CUDA, of Ampere or later, and Triton is there."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _SMALLEST_CAPABILITY


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the precision that autocast asks for on a device, float32 where it is off."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32
