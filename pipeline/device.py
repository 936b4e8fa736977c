"""Where a stage computes: the choice on its command line, checked before any work."""

import torch

# Rays rendered at a time; the result does not depend on it. On a CPU few enough for its cache, on a
# GPU as many as half of its free memory holds: so many bytes a ray with 10 source views and 192
# samples, measured with a feature head.
_CPU_RAYS = 128
_MOST_RAYS = 16384
_RAY_BYTES = {True: 3 * 2**19, False: 2**23}  # with kernels and without


def pick_chunk_rays(device: torch.device, use_kernels: bool) -> int:
    """Return how many rays are rendered at a time."""
    if device.type != "cuda":
        return _CPU_RAYS
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(_MOST_RAYS, max(_CPU_RAYS, free // 2 // _RAY_BYTES[use_kernels])))


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
