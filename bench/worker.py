"""The process in which the timing loops run: apart from this one, and from every mount."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_EXIT_SECONDS_MAX = 5.0


class LoopError(RuntimeError):
    """A loop met an error; the message says which case and why."""


class Worker:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._entropy = random.Random(20)

    def run(
        self, case: str, directory: Path, count: int, *, environment: Mapping[str, str] | None = None
    ) -> list[int]:
        """Make `directory`, run the case in it and return its samples in nanoseconds. Raises `LoopError`."""
        directory.mkdir(parents=True, exist_ok=True)
        return self.run_in(case, directory, count, environment=environment)

    def run_in(
        self, case: str, directory: Path, count: int, *, environment: Mapping[str, str] | None = None
    ) -> list[int]:
        """The same in a directory as it is."""
        asked = {
            "case": case,
            "directory": str(directory),
            "count": count,
            "seed": self._entropy.getrandbits(32),
            "environment": dict(environment or {}),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise LoopError(f"{case}: the measuring process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise LoopError(answer["error"])
        samples: list[int] = answer["samples"]
        return samples


@contextmanager
def worker() -> Iterator[Worker]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.loops"],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Worker(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_EXIT_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
