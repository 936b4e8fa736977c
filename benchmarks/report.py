"""What all benchmarks share: the machine in words, the table, clocks that wait for the device."""

import gc
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import torch
import typer

from benchmarks.cost import Cost
from gsn.model.network import GsnModel, ModelConfig, pick_autocast
from pipeline.provenance import describe_commit, processor_name

RATE_HEAD = ("TFLOP/s", "of the floor", "GB/s")  # columns of `rate_cells`
PATH_HEAD = ("what", "ms", "10-90 %", "rays/s", *RATE_HEAD, "peak GiB", "reserved GiB")
NONE = "–"


@dataclass(frozen=True)
class Timing:
    """How long each of some equal runs took, and the memory of the device they needed."""

    seconds: list[float]
    peak_bytes: int | None  # of all tensors at a time, after the warm-up; None on the CPU
    reserved_bytes: int | None  # by the allocator, which includes what a CUDA graph keeps

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """10th and 90th percentile, in seconds."""
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        tenths = statistics.quantiles(self.seconds, n=10, method="inclusive")
        return tenths[0], tenths[-1]


def machine(device: torch.device) -> str:
    """Describe what the numbers were measured on."""
    parts = [f"{os.cpu_count()} cores of {processor_name()}", f"Python {platform.python_version()}"]
    parts.append(f"torch {torch.__version__} with {torch.get_num_threads()} threads")
    if device.type == "cuda":
        parts.insert(0, torch.cuda.get_device_name(device))
        parts.append(f"triton {version('triton')}")
    return ", ".join(parts)


def headline(device: torch.device) -> str:
    """Say when, of which code and on which machine numbers are measured."""
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, commit {describe_commit()}, {machine(device)}"


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the shortest of some runs, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        wait_for(device)
        started = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def time_each(
    work: Callable[[], object], device: torch.device, warm_up: int, repeats: int
) -> Timing | None:
    """Time runs that follow each other without a pause; None if the device's memory is too small.

    On a GPU the marks are set on the device and read after the last run, so that the host may run
    ahead as far as `work` lets it; where it cannot keep up, the wait is part of the time.
    """
    on_cuda = device.type == "cuda"
    gc.collect()
    if on_cuda:
        torch.cuda.empty_cache()
    try:
        for _ in range(warm_up):
            work()
        if not on_cuda:
            return Timing(_times_on_host(work, repeats), None, None)
        torch.cuda.reset_peak_memory_stats(device)
        times = _times_on_device(work, device, repeats)
    except torch.cuda.OutOfMemoryError:
        return None
    return Timing(
        times, torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    )


def _times_on_host(work: Callable[[], object], repeats: int) -> list[float]:
    marks = [time.perf_counter()]
    for _ in range(repeats):
        work()
        marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)]


def _times_on_device(work: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    marks: list[torch.cuda.Event] = [
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(repeats + 1)
    ]
    torch.cuda.synchronize(device)
    stream = torch.cuda.current_stream(device)
    marks[0].record(stream)
    for mark in marks[1:]:
        work()
        mark.record(stream)
    torch.cuda.synchronize(device)
    return [a.elapsed_time(b) / 1000 for a, b in itertools.pairwise(marks)]


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate_cells(cost: Cost, timing: Timing, device: torch.device) -> list[str]:
    """Return the cells below `RATE_HEAD`; the floor is that of one H100."""
    on_cuda = device.type == "cuda"
    return [
        f"{cost.flop / timing.median / 1e12:.3g}",
        f"{cost.floor_s / timing.median:.1%}" if on_cuda else NONE,
        f"{cost.bytes / timing.median / 1e9:.3g}",
    ]


def time_cells(timing: Timing, digits: int) -> list[str]:
    """Return median and spread, in ms."""
    low, high = timing.spread
    spread = f"{low * 1e3:.{digits}f}-{high * 1e3:.{digits}f}"
    return [f"{timing.median * 1e3:.{digits}f}", spread]


def path_row(
    name: str,
    kernels: bool,
    timing: Timing | None,  # None: the memory was too small
    cost: Cost,
    rays: int,
    device: torch.device,
    digits: int,
) -> list[str]:
    """Return the cells below `PATH_HEAD`, of work by the fast kernels or the readable modules."""
    name = f"{name}, {'kernels' if kernels else 'readable'}"
    if timing is None:
        return [name, "out of memory", *[NONE] * (len(PATH_HEAD) - 2)]
    gib = [
        NONE if n_bytes is None else f"{n_bytes / 2**30:.2f}"
        for n_bytes in (timing.peak_bytes, timing.reserved_bytes)
    ]
    rate = f"{rays / timing.median:.0f}"
    rates = rate_cells(cost, timing, device)
    return [name, *time_cells(timing, digits), rate, *rates, *gib]


def kernels_run(config: ModelConfig, channels: int | None, device: torch.device) -> bool:
    """Return whether the fast kernels run for this network on this device, if they may."""
    with pick_autocast(device):
        return GsnModel(config, channels).runs_kernels_on(device)


def which_paths(
    told: bool | None, config: ModelConfig, channels: int | None, device: torch.device
) -> list[bool]:
    """Return with and without kernels, if not told which; where none run, without alone.

    Raises:
        typer.BadParameter: Told to measure kernels that do not run.
    """
    they_run = kernels_run(config, channels, device)
    if told is None:
        return [True, False] if they_run else [False]
    if told and not they_run:
        raise typer.BadParameter(f"no kernels run on {device} for this network")
    return [told]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    rule = f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (width + 1) + ':' for width in widths[1:])}|"
    return "\n".join([line(head), rule, *map(line, rows)])
