"""The stage `extract`, from packs to maps on disk: python -m benchmarks.extract.

Against the bare network on photographs that lie in its memory already, and against bare writing of
as many bytes by as many threads into the same folder. Memory: the largest resident size of a
process of its own that runs the stage over so many views.
"""

import json
import logging
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks.report import machine, seconds, table
from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.captures.survey import survey_packs
from gsn.extraction.batches import batch_size
from gsn.extraction.make_maps import N_THREADS
from gsn.teachers import TEACHERS, load_teacher
from gsn.teachers.teacher import SEEDED, ClipConfig, Teacher, TeacherConfig, VitConfig
from gsn.teachers.timm_entry import create_vit
from pipeline.device import pick_device
from pipeline.extract import ExtractConfig, extract

VIEWS_PER_SCENE = 50
KEPT_DIMS = 64
RUNS = 2  # of the stage; the median is told
ONE_BY_ONE = 8  # photographs of the slow way
HEAD = ("what", "images/s", "of the best", "GB/s written")
Row = tuple[str, str, str, str]


def write_packs(folder: Path, n_views: int, height: int, width: int) -> list[Path]:
    """Write scenes of at most `VIEWS_PER_SCENE` views: smooth noise with grain."""
    paths = []
    for first in range(0, n_views, VIEWS_PER_SCENE):
        rng = np.random.default_rng(first)
        n = min(VIEWS_PER_SCENE, n_views - first)
        coarse = rng.integers(0, 200, (n, height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
        smooth = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
        capture = Capture(
            name=f"scene_{first}",
            view_names=tuple(f"view_{first + k}" for k in range(n)),
            image_sha256=("",) * n,
            images=smooth + rng.integers(0, 50, smooth.shape, dtype=np.uint8),
            intrinsics=np.tile(np.eye(3), (n, 1, 1)),
            cam_to_world=np.tile(np.eye(4), (n, 1, 1)),
            near=1.0,
            far=2.0,
        )
        paths.append(folder / f"{capture.name}.h5")
        write_pack(paths[-1], capture, np.arange(n) % 8 == 0)
    return paths


def enough(packs: Sequence[Path], n_views: int) -> Sequence[Path]:
    """Return the first packs that have so many views, or a few more."""
    return packs[: -(-n_views // VIEWS_PER_SCENE)]


def seeded_teacher(name: str, device: torch.device) -> Teacher:
    """Build an untrained teacher with usual settings."""
    vit = VitConfig(layers=[-1], facet="token", stride_px=None)
    clip = ClipConfig(mode="dense", window_px=[96], window_stride_px=48, merge="mean")
    config = TeacherConfig(
        name=name, weights=SEEDED, seed=0, long_side_px=None, vit=vit, clip=clip, prompts=[]
    )
    return load_teacher(config, device)


@torch.inference_mode()
def bare_rates(
    name: str, height: int, width: int, repeats: int, device: torch.device
) -> dict[str, float]:
    """Measure the network alone, in images/s: one by one as published, in batches, and compiled."""
    on_cuda = device.type == "cuda"
    vit = create_vit(TEACHERS[name].card.weights_from.removeprefix("timm/"), from_hub=False)
    vit = vit.eval().requires_grad_(False).to(device)
    patch = int(vit.patch_embed.patch_size[0])
    rows, columns = height // patch * patch, width // patch * patch
    n = batch_size(height, width, device)
    pixels = torch.randn(max(n, ONE_BY_ONE), 3, rows, columns, device=device)

    def one_by_one() -> None:
        for k in range(ONE_BY_ONE):
            vit.forward_features(pixels[k : k + 1])

    def in_batch(forward: Callable[[Tensor], Tensor]) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=on_cuda):
            for _ in range(repeats):
                forward(pixels[:n])

    kind = "bfloat16" if on_cuda else "float32"
    rates = {"float32, one by one": ONE_BY_ONE / seconds(one_by_one, device, 2)}
    eager = seconds(partial(in_batch, vit.forward_features), device, 2)
    rates[f"{kind}, batches of {n}"] = n * repeats / eager
    if on_cuda:
        compiled = partial(in_batch, torch.compile(vit.forward_features))
        rates[f"{kind}, compiled"] = n * repeats / seconds(compiled, device, 2)
    return rates


def run_stage_once(
    packs: Sequence[Path], folder: Path, teacher: Teacher, keep_raw: bool, device: torch.device
) -> tuple[float, int]:
    """Run the stage into a fresh folder; return seconds and bytes written."""
    out = folder / "features" / teacher.name
    started = time.perf_counter()
    cfg = ExtractConfig(keep_raw=keep_raw, kept_dims=KEPT_DIMS)
    extract(list(packs), out, teacher, cfg, device, [path.stem for path in packs])
    elapsed = time.perf_counter() - started
    n_bytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    shutil.rmtree(out.parent)
    return elapsed, n_bytes


def raw_write_rate(folder: Path, n_files: int, file_bytes: int) -> float:
    """Write files as the stage's threads do, with nothing else to do; return bytes/s."""
    values = np.random.default_rng(0).integers(0, 256, file_bytes, dtype=np.uint8)
    place = folder / "raw"
    place.mkdir()
    started = time.perf_counter()
    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(lambda k: values.tofile(place / str(k)), range(n_files)))
    rate = n_files * file_bytes / (time.perf_counter() - started)
    shutil.rmtree(place)
    return rate


def peak_memory_apart(packs: Sequence[Path], folder: Path, name: str, device: str) -> int:
    """Run the stage in a process of its own; return its largest resident size in bytes."""
    code = "import sys; from benchmarks.extract import peak_memory; peak_memory(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(folder), name, device, *map(str, packs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def peak_memory(folder: str, name: str, device: str, *packs: str) -> None:
    """Run the stage and write this process's largest resident size to the standard output."""
    place = pick_device(device)
    paths = [Path(pack) for pack in packs]
    run_stage_once(paths, Path(folder), seeded_teacher(name, place), True, place)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{kilobytes * 1024}\n")


def stage_rows(
    packs: Sequence[Path], n_views: int, folder: Path, teacher: Teacher, device: torch.device
) -> tuple[list[tuple[str, float, float]], int]:
    """Measure the stage; return what, images/s and bytes/s of each, and bytes of all raw maps."""
    rows, raw_bytes = [], 0
    run_stage_once(packs[:1], folder, teacher, True, device)  # warm, and not counted
    for keep_raw in (True, False):
        runs = [run_stage_once(packs, folder, teacher, keep_raw, device) for _ in range(RUNS)]
        elapsed, n_bytes = statistics.median(run[0] for run in runs), runs[0][1]
        raw_bytes = n_bytes if keep_raw else raw_bytes
        what = "all channels" if keep_raw else f"{KEPT_DIMS} dimensions, two passes"
        rows.append((f"stage, {what}", n_views / elapsed, n_bytes / elapsed))
    return rows, raw_bytes


def commit() -> str:
    """Return the commit that is measured, where git is at hand."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def main(
    views: Annotated[int, typer.Option(help="Of the run that is timed.")] = 500,
    memory_views: Annotated[list[int] | None, typer.Option(help="Of runs in processes.")] = None,
    height: Annotated[int, typer.Option(help="Of the photographs, in pixels.")] = 376,
    width: Annotated[int, typer.Option(help="Of the photographs, in pixels.")] = 504,
    teacher: Annotated[str, typer.Option(help="A ViT of timm, with untrained weights.")] = (
        "dino_vitb8"
    ),
    repeats: Annotated[int, typer.Option(help="Batches of the bare network.")] = 20,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    folder: Annotated[Path | None, typer.Option(help="Whose disk is used.")] = None,
) -> None:
    """Measure the stage and print one table."""
    logging.basicConfig(level=logging.WARNING)
    place = pick_device(device)
    counts = memory_views or [100, 1000]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = Path(temporary)
        packs = write_packs(work, max(views, *counts), height, width)
        memory = {n: peak_memory_apart(enough(packs, n), work, teacher, device) for n in counts}
        rates = bare_rates(teacher, height, width, repeats, place)
        network = seeded_teacher(teacher, place)
        timed = enough(packs, views)
        n_timed = sum(len(survey.view_names) for survey in survey_packs(timed))
        stages, raw_bytes = stage_rows(timed, n_timed, work, network, place)
        disk = raw_write_rate(work, n_timed, raw_bytes // n_timed)
    best = max(rates.values())
    rows: list[Row] = [
        (f"network, {k}", f"{v:.1f}", f"{v / best:.0%}", "") for k, v in rates.items()
    ]
    rows += [(k, f"{r:.1f}", f"{r / best:.0%}", f"{b / 1e9:.2f}") for k, r, b in stages]
    per_map = raw_bytes / n_timed
    rows.append(("bare writing", f"{disk / per_map:.1f}", "", f"{disk / 1e9:.2f}"))
    lines = [f"{n} views: {peak / 1e9:.2f} GB of host memory" for n, peak in memory.items()]
    if place.type == "cuda":
        lines.append(f"{torch.cuda.max_memory_allocated(place) / 1e9:.2f} GB of GPU memory")
    today = datetime.now(UTC).date().isoformat()
    head = f"{today}, commit {commit()}, {machine(place)}\n{teacher} at {height} × {width}"
    typer.echo(f"{head}, {n_timed} views of {per_map / 1e6:.2f} MB\n")
    typer.echo(f"{table(HEAD, rows)}\n\n{'; '.join(lines)}")


if __name__ == "__main__":
    typer.run(main)
