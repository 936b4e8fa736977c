"""Exact PCA and the stage `reduce`: python -m benchmarks.pca.

PCA: float16 vectors of the width of a ViT-B, against scikit-learn's exact solvers. The stage: from
feature maps on disk to targets on disk, against bare reading of the same files as often as the
stage reads them, once with the files in the page cache and once without.
"""

import functools
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from sklearn.decomposition import PCA
from torch import Tensor

from benchmarks.noise_features import make_world
from benchmarks.report import machine, seconds, table
from gsn.features.basis import Basis, HalfArray
from gsn.features.pca import PcaFit
from gsn.features.reduction import N_THREADS
from gsn.features.store import FeatureMaps
from gsn.features.update import store_path
from gsn.threads import map_in_threads
from pipeline.device import pick_device
from pipeline.reduce import ReduceConfig, reduce

CPU = torch.device("cpu")
BATCH = 3000  # vectors taken in at once, about a map
HEAD = ("what", "seconds", "GB/s", "subspace error")
Row = tuple[str, str, str, str]


def make_vectors(n_vectors: int, channels: int) -> HalfArray:  # (N, C)
    """Draw vectors whose variances fall by four orders of magnitude, off the origin."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((channels, channels)))[0].astype(np.float32)
    values = rng.standard_normal((n_vectors, channels), dtype=np.float32)
    values *= np.geomspace(1, 0.01, channels, dtype=np.float32)
    return (values @ turn + rng.standard_normal(channels, dtype=np.float32)).astype(np.float16)


def subspace_error(basis: Basis, reference: npt.NDArray[np.floating]) -> float:
    """Return the sine of the largest angle between the space of a basis and that of a reference."""
    rest = basis.components - (basis.components @ reference.T) @ reference
    return float(np.linalg.norm(rest, ord=2))


def fit(batches: Sequence[Tensor], dims: int, device: torch.device) -> Basis:
    """Fit a basis as the stage does, a batch at a time."""
    pca = PcaFit(batches[0].shape[1], device)
    for batch in batches:
        pca.add(batch)
    return pca.solve(dims, {})


def pca_rows(
    vectors: HalfArray,  # (N, C)
    dims: int,
    device: torch.device,
    repeats: int,
) -> list[Row]:
    """Time fits of the same vectors."""
    doubles = vectors.astype(np.float64)
    exact = PCA(dims, svd_solver="covariance_eigh").fit(doubles).components_
    whole = torch.from_numpy(vectors)
    batches = [whole[k : k + BATCH] for k in range(0, len(whole), BATCH)]
    cases = [("CPU", CPU, batches)]
    if device.type == "cuda":
        there = [batch.to(device) for batch in batches]
        on_gpu = [("GPU, vectors there", device, there), ("GPU, from the host", device, batches)]
        cases = on_gpu + cases
    rows: list[Row] = []
    for name, on, given in cases:
        taken = seconds(functools.partial(fit, given, dims, on), on, repeats)
        error = subspace_error(fit(given, dims, on), exact)
        rows.append((f"PCA here, {name}", f"{taken:.3f}", "", f"{error:.0e}"))
    for solver, values, n_fits in (
        ("covariance_eigh", vectors.astype(np.float32), repeats),
        ("covariance_eigh", doubles, repeats),
        ("full", doubles, 1),
    ):
        solve = PCA(dims, svd_solver=solver)
        taken = seconds(functools.partial(solve.fit, values), CPU, n_fits)
        rows.append((f"scikit-learn {solver}, {values.dtype}", f"{taken:.3f}", "", ""))
    return rows


def forget(files: list[Path]) -> None:
    """Drop files from the page cache, where the system lets us."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def once(work: Callable[[], object]) -> float:
    """Time one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def stage_rows(
    folder: Path, n_maps: int, shape: tuple[int, int, int], dims: int, device: torch.device
) -> list[Row]:
    """Time the stage and the bare reading of what it reads."""
    world = make_world(folder, n_maps, shape)
    n_bytes = sum(file.stat().st_size for file in world.files)
    scenes = [path.stem for path in world.packs]
    stores = {name: FeatureMaps(store_path(world.features, name)) for name in scenes}
    views = [(stores[file.parent.stem], int(file.name.split(".")[1])) for file in world.files]
    cfg = ReduceConfig(dims=dims, scope="global")
    outs = iter([folder / "targets cached", folder / "targets not cached"])

    def bare() -> None:
        for _ in map_in_threads(world.files, Path.read_bytes, N_THREADS):
            pass

    def checked() -> None:
        for _ in map_in_threads(views, lambda item: item[0].read(item[1]), N_THREADS):
            pass

    def stage() -> None:
        reduce(world.packs, scenes, world.features, next(outs), cfg, device)

    works = {"bare reading": bare, "reading with checksums": checked, "stage reduce": stage}
    rows: list[Row] = []
    for state in ("cached", "not cached"):
        for name, work in works.items():
            if state == "not cached":
                forget([*world.files, *world.packs])
            taken = once(work)
            rate = n_bytes / taken / 1e9
            rows.append((f"{name}, files {state}", f"{taken:.2f}", f"{rate:.2f}", ""))
    return rows


def main(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    vectors: Annotated[int, typer.Option(help="Vectors of the PCA; 0 leaves it out.")] = 148_000,
    channels: Annotated[int, typer.Option(help="Of vectors and maps.")] = 768,
    dims: Annotated[int, typer.Option(help="Of the basis.")] = 64,
    maps: Annotated[int, typer.Option(help="Maps of the stage; 0 leaves it out.")] = 500,
    height: Annotated[int, typer.Option(help="Of a map, in cells.")] = 47,
    width: Annotated[int, typer.Option(help="Of a map, in cells.")] = 63,
    repeats: Annotated[int, typer.Option(help="Fits, of which the fastest counts.")] = 5,
    folder: Annotated[Path | None, typer.Option(help="Where the stage's files go.")] = None,
) -> None:
    """Print one table."""
    logging.basicConfig(level=logging.WARNING)
    picked = pick_device(device)
    rows = pca_rows(make_vectors(vectors, channels), dims, picked, repeats) if vectors else []
    if maps:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            rows += stage_rows(Path(place), maps, (height, width, channels), dims, picked)
    typer.echo(f"{machine(picked)}\n")
    typer.echo(
        f"PCA of {vectors} x {channels} to {dims}; stage: {maps} maps of {height} x {width} x "
        f"{channels}, read with {N_THREADS} threads, 7 of 8 twice\n"
    )
    typer.echo(table(HEAD, rows))


if __name__ == "__main__":
    typer.run(main)
