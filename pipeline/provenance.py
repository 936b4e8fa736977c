"""What a report says of where it comes from: code and machine."""

import platform
import subprocess
from pathlib import Path

import torch


def describe_commit() -> str:
    """Name the commit of the code that runs, and say if files differ from it."""
    root = Path(__file__).parents[1]
    try:
        commit, changes = (
            subprocess.run(
                ["git", "--no-optional-locks", *arguments],
                cwd=root,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for arguments in (
                ("rev-parse", "--short=9", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no", "--", "gsn", "pipeline"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown (no git checkout)"
    return f"{commit}, with changes" if changes else commit


def describe_machine(device: torch.device) -> str:
    """Name the GPU, or the processor and how many threads work on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    n_threads = torch.get_num_threads()
    return f"{processor_name()}, {n_threads} thread{'s' if n_threads > 1 else ''}"


def processor_name() -> str:
    """Return the name of the processor as Linux tells it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
