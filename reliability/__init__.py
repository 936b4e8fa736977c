"""Does a fault leave anything wrong behind? Each stage is killed, starved and fed damaged files.

`python -m reliability` does it on a tiny project of its own and writes docs/reliability.md.
"""

import os

# Before torch is loaded: tries are forked, and a process with threads cannot be forked safely.
os.environ["OMP_NUM_THREADS"] = "1"
