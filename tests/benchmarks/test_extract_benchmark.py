import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_the_stage_on_a_few_small_views(tmp_path):
    options = {"--views": 4, "--memory-views": 2, "--height": 80, "--width": 112, "--repeats": 1}
    options |= {"--teacher": "dino_vits16", "--device": "cpu", "--folder": tmp_path}
    command = [sys.executable, "-m", "benchmarks.extract"]
    command += [str(part) for pair in options.items() for part in pair]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "dino_vits16 at 80 × 112, 4 views of 0.03 MB" in done.stdout
    rates = dict(re.findall(r"^\| (.+?) +\| +([\d.]+) \|", done.stdout, re.MULTILINE))
    assert list(rates) == [
        "network, float32, one by one",
        "network, float32, batches of 1",
        "stage, all channels",
        "stage, 64 dimensions, two passes",
        "bare writing",
    ]
    assert all(float(rate) > 0 for rate in rates.values())
    memory = re.search(r"2 views: ([\d.]+) GB of host memory", done.stdout)
    assert 0.05 < float(memory.group(1)) < 20
    assert list(tmp_path.iterdir()) == []
