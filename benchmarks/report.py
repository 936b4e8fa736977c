"""What all benchmarks share: the machine in words, the table, clocks that wait for the device."""

import os
import platform
import time
from collections.abc import Callable, Sequence

import torch

from pipeline.provenance import processor_name


def machine(device: torch.device) -> str:
    """Describe what the numbers were measured on."""
    parts = [f"{os.cpu_count()} cores of {processor_name()}", f"Python {platform.python_version()}"]
    parts.append(f"torch {torch.__version__} with {torch.get_num_threads()} threads")
    if device.type == "cuda":
        parts.insert(0, torch.cuda.get_device_name(device))
    return ", ".join(parts)


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the shortest of some runs, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        _wait_for(device)
        started = time.perf_counter()
        work()
        _wait_for(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    rule = f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (width + 1) + ':' for width in widths[1:])}|"
    return "\n".join([line(head), rule, *map(line, rows)])
