"""Measurements of a mount beside the local file system: `python -m bench` (docs/benchmarks.md)."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as an engine has it
