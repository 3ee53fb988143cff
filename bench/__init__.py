"""Measurements of a mount beside the local file system: `python -m bench` (docs/benchmarks.md)."""
