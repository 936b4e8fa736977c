"""Each benchmark runs from the repository root, with tiny settings on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def table_of(module, *arguments):
    """Run a benchmark; return its rows: first cell -> other cells."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--device", "cpu", *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in lines}) == 1, "columns are not aligned"
    return {first: others for first, *others in (rows[0], *rows[2:])}


def test_the_pca_benchmark_prints_one_table(tmp_path):
    tiny = "--vectors 300 --channels 12 --dims 4 --maps 5 --height 3 --width 4 --repeats 1"
    rows = table_of("benchmarks.pca", *tiny.split(), "--folder", str(tmp_path))
    assert rows.pop("what") == ["seconds", "GB/s", "subspace error"]
    assert float(rows["PCA here, CPU"][2]) < 1e-10
    for state in ("cached", "not cached"):
        for work in ("bare reading", "reading with checksums", "stage reduce"):
            seconds, rate, _ = rows[f"{work}, files {state}"]
            assert float(seconds) >= 0
            assert float(rate) >= 0
    assert len(rows) == 10
    assert list(tmp_path.iterdir()) == []  # nothing is left over
