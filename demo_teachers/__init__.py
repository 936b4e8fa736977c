"""How the demo teachers of `gsn.teachers.demo` are trained and measured; not installed."""

import os

# As in `pipeline`: threads of torch that wait for work must not keep others from theirs.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")
