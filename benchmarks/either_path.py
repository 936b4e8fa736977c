"""Whether either path trains as well: python -m benchmarks.either_path data/prepared.

Trains stage I by the readable modules and by the fast kernels, from equal seeds and without
dropout, which the two draw differently, and scores both. A run is chaotic: another rounding leads
to another optimum, as another seed does. So one pair of runs says little; the mean difference of
many and its standard error say whether one path is better.
"""

import logging
import multiprocessing
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm

from benchmarks.quality import Changes, Span, in_folder, measure
from benchmarks.report import headline, table, which_paths
from pipeline.command import DEFAULT_PARAMS, DeviceName, ParamsFile, PreparedFolder
from pipeline.config import ScenesConfig, load_section
from pipeline.device import pick_device
from pipeline.leakage import check_no_leakage
from pipeline.pretrain import PretrainConfig

HEAD = ("scene", "readable dB", "kernels dB", "kernels better by dB", "standard error dB")
MIN_SEEDS = 2
Scores = dict[str, float]  # PSNR by the name of the scene


@dataclass(frozen=True)
class Pair:
    """Scores of one seed."""

    readable: Scores
    kernels: Scores


def without_dropout(cfg: PretrainConfig, changes: Changes, samples: int | None) -> PretrainConfig:
    """Return settings with changes, without dropout, and with other samples along a ray if told."""
    model = replace(cfg.model, dropout=0.0, samples=samples or cfg.model.samples)
    return replace(cfg, model=model, training=changes.of(cfg.training))


def measure_pairs(
    packs: Sequence[Path],
    scored: Sequence[Path],
    cfg: PretrainConfig,
    steps: int,
    seeds: range,
    device: torch.device,
    pool: Executor,
) -> list[Pair]:
    """Train and score by both paths, from each of the seeds; print each run as it ends."""
    span = Span(float("inf"), steps)
    runs = {
        pool.submit(measure, packs, scored, _seeded(cfg, seed), span, kernels, device): (
            f"seed {seed}, {'kernels' if kernels else 'readable'}"
        )
        for seed in seeds
        for kernels in (False, True)
    }
    for done in tqdm(as_completed(runs), total=len(runs), unit="run", desc="either path"):
        _, psnr = done.result()  # raises the first error at once
        tqdm.write(f"{runs[done]}: {', '.join(f'{k} {v:.2f} dB' for k, v in psnr.items())}")
    scores = [future.result()[1] for future in runs]
    return [Pair(*both) for both in zip(scores[::2], scores[1::2], strict=True)]


@contextmanager
def run_beside(workers: int) -> Iterator[Executor]:
    """Run several processes at a time; at an error, or Ctrl-C, end those that run and begin none.

    The processes that the caller has started otherwise end with them.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    pool.shutdown()


def _seeded(cfg: PretrainConfig, seed: int) -> PretrainConfig:
    return replace(cfg, training=replace(cfg.training, seed=seed))


def rows_of(pairs: Sequence[Pair]) -> list[list[str]]:
    """Return the cells below `HEAD`, a row for each scene and one for their mean."""
    rows = []
    names = list(pairs[0].readable)
    for name, some in [*((name, [name]) for name in names), ("mean", names)]:
        readable = [statistics.mean(pair.readable[scene] for scene in some) for pair in pairs]
        kernels = [statistics.mean(pair.kernels[scene] for scene in some) for pair in pairs]
        better = [b - a for a, b in zip(readable, kernels, strict=True)]
        error = statistics.stdev(better) / len(better) ** 0.5
        cells = f"{statistics.mean(readable):.2f}", f"{statistics.mean(kernels):.2f}"
        rows.append([name, *cells, f"{statistics.mean(better):+.3f}", f"{error:.3f}"])
    return rows


def main(
    prepared: PreparedFolder,
    train: Annotated[list[str] | None, typer.Option(help="Scenes; scenes.train if none.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="Scenes; scenes.test if none.")] = None,
    seeds: Annotated[int, typer.Option(help="Pairs of runs.")] = 8,
    first_seed: Annotated[int, typer.Option(help="Of the pairs, to go on from a run.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Of each run.")] = 800,
    rays: Annotated[int | None, typer.Option(min=1, help="Of a step.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Along a ray.")] = None,
    decay_steps: Annotated[int | None, typer.Option(min=1, help="Between decays.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Runs at a time, each with memory of its own.")
    ] = 1,
    params: ParamsFile = DEFAULT_PARAMS,
    device: DeviceName = "auto",
) -> None:
    """Print one table."""
    logging.basicConfig(level=logging.WARNING)
    if seeds < MIN_SEEDS:
        raise typer.BadParameter(f"{seeds}: expected {MIN_SEEDS} at least", param_hint="--seeds")
    place = pick_device(device)
    changes = Changes(rays=rays, decay_steps=decay_steps)
    cfg = without_dropout(load_section(params, "pretrain", PretrainConfig), changes, samples)
    which_paths(True, cfg.model, None, place)  # an error where there are no two
    named = load_section(params, "scenes", ScenesConfig)
    learnt, scored = train or named.train, score or named.test
    check_no_leakage(prepared, [name for name in scored if name not in learnt], learnt)
    packs, scored_packs = in_folder(prepared, learnt), in_folder(prepared, scored)
    of_pairs = range(first_seed, first_seed + seeds)
    with run_beside(workers) as pool:
        pairs = measure_pairs(packs, scored_packs, cfg, steps, of_pairs, place, pool)
    batch, optimiser = cfg.training.batch, cfg.training.optimiser
    typer.echo(f"{headline(place)}\n")
    typer.echo(
        f"stage I of {params} on {', '.join(learnt)}: pairs of runs of {steps + 1} steps of "
        f"{batch.rays} rays × {cfg.model.samples} samples without dropout, "
        f"seeds {of_pairs[0]} to {of_pairs[-1]}, "
        f"rates × {optimiser.decay_factor:g} every {optimiser.decay_steps} steps\n"
    )
    typer.echo(table(HEAD, rows_of(pairs)))


if __name__ == "__main__":
    typer.run(main)
