"""Where a stage computes: the choice on its command line, checked before any work."""

import torch


def pick_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:<number>` into a device that is there.

    Args:
        name: `auto` is the first CUDA device, or the CPU where there is none.

    Raises:
        ValueError: The name is none of these, or this machine has no such device.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if n_cuda else "cpu")
    kind, _, number = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (":" in name and not (number.isascii() and number.isdigit())):
        raise ValueError(f"device {name!r}: expected auto, cpu, cuda or cuda:<number>")
    index = int(number or 0)
    if index >= n_cuda:
        raise ValueError(f"device {name!r}: found {n_cuda} CUDA devices; use auto or cpu")
    return torch.device("cuda", index)
