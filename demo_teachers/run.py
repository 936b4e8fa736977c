"""What the two trainings share: the clock, the learning rate, the bank of pictures, the log."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from demo_teachers.stream import Bank, Stream

log = logging.getLogger(__name__)
PEAK_RATE, FINAL_RATE, WARMUP = 1e-3, 1e-5, 0.04  # the last: part of the run
LARGEST_GRADIENT = 3.0
BANK = 6144  # pairs that are kept
MARKS = 10  # measurements during a run
FIRST = 0.5  # scenes to wait for before the first step, in parts of a step's pairs

Minutes = Annotated[float, typer.Option(help="Length of the run; the learning rate follows it.")]
Workers = Annotated[int, typer.Option(help="Processes that render.")]
Seed = Annotated[int, typer.Option(help="Of scenes, crops and first weights.")]


class Run:
    """One training run of fixed length in time."""

    def __init__(self, minutes: float, workers: int, seed: int) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        self.seed = seed
        self._workers = workers
        self._seconds = 60 * minutes
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._mark = 0
        self._n_pictures = 0
        self._started = math.nan

    def fill_bank(self, n_pairs: int, *, named_colours: bool) -> Bank:
        """Start the stream of pictures and wait for the first; seed everything."""
        # Workers are forked before this process touches the GPU.
        self._stream = Stream(self.seed, self._workers, named_colours=named_colours)
        torch.manual_seed(self.seed)
        bank = Bank(BANK if self.device.type == "cuda" else 4 * n_pairs, self.device)
        n_first = max(1, int(FIRST * n_pairs))
        for pairs in tqdm(self._stream.wait(n_first), "first scenes", n_first, unit="scene"):
            bank.put(pairs)
        return bank

    def optimiser(self, network: nn.Module, weight_decay: float) -> torch.optim.Optimizer:
        """Make AdamW; biases and norms do not decay."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, fused=self.device.type == "cuda")

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Compute in bfloat16 on CUDA."""
        return torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda")

    def steps(
        self, name: str, optimiser: torch.optim.Optimizer, bank: Bank
    ) -> Iterator[tuple[int, float]]:
        """Yield number and time, as a part of the run, of each step until the time is over."""
        self._started = time.monotonic()
        with tqdm(desc=name, unit="step", mininterval=10) as progress:
            step = 0
            while (part := (time.monotonic() - self._started) / self._seconds) < 1:
                for pairs in self._stream.ready():
                    bank.put(pairs)
                self._n_pictures = 2 * bank.n_seen
                for group in optimiser.param_groups:
                    group["lr"] = rate_at(part)
                yield step, part
                step += 1
                progress.update()
        self._stream.close()
        log.info("%s: %d steps, %d pictures", name, step, self._n_pictures)

    def descend(
        self, optimiser: torch.optim.Optimizer, network: nn.Module, losses: dict[str, Tensor]
    ) -> None:
        """Take one step down the sum of the losses."""
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()

    def is_mark(self, part: float) -> bool:
        """Say whether it is time to measure."""
        passed = int(part * MARKS)
        is_new, self._mark = passed > self._mark, passed
        return is_new

    def report(self, step: int, losses: dict[str, Tensor], what: str, value: float) -> None:
        """Log where the run stands."""
        parts = ", ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
        seconds = time.monotonic() - self._started
        log.info(
            "step %d, %.0f s, %d pictures: %s %.3f; %s",
            *(step, seconds, self._n_pictures, what, value, parts),
        )


def rate_at(part: float) -> float:
    """Return the learning rate: linear rise, then half a cosine."""
    if part < WARMUP:
        return PEAK_RATE * max(part, 1e-3) / WARMUP
    fallen = (part - WARMUP) / (1 - WARMUP)
    return FINAL_RATE + (PEAK_RATE - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * fallen))


def save_half(network: nn.Module, out: Path) -> None:
    """Write the weights of a network in half precision."""
    state = network.state_dict()
    save_file({name: value.half().contiguous().cpu() for name, value in state.items()}, out)
