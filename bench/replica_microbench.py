"""Microseconds per operation of the tree on one replica, best of several rounds, as JSON.

    python bench/replica_microbench.py [directory]

Best of rounds, because the machine is shared: what we can do, not what the neighbours left us.
"""

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import apsw

from agentfs.clock import SystemClock
from agentfs.replica.replica import Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Caller, Handle

_COUNT = 500
_ROUNDS = 12
_CREATE = os.O_RDWR | os.O_CREAT


def _measure(operation: Callable[[int], object]) -> dict[str, float]:
    rounds = []
    for round_number in range(_ROUNDS):
        started = time.perf_counter()
        for index in range(_COUNT):
            operation(round_number * _COUNT + index)
        rounds.append((time.perf_counter() - started) / _COUNT * 1e6)
    return {"best": round(min(rounds), 1), "median": round(statistics.median(rounds), 1)}


def _measure_local(directory: str) -> dict[str, dict[str, float]]:
    """The same on the file system under the replica."""
    descriptors: list[int] = []

    def create(index: int) -> None:
        descriptors.append(os.open(f"{directory}/f{index}.md", _CREATE, 0o644))

    found = {"create": _measure(create)}
    found["write 1 KiB"] = _measure(lambda index: os.pwrite(descriptors[index], bytes(1024), 0))
    found["close"] = _measure(lambda index: os.close(descriptors[index]))
    found["lookup"] = _measure(lambda index: os.stat(f"{directory}/f{index}.md"))
    found["rename"] = _measure(lambda index: os.rename(f"{directory}/f{index}.md", f"{directory}/r{index}.md"))
    found["unlink"] = _measure(lambda index: os.unlink(f"{directory}/r{index}.md"))
    return found


def _measure_tree(tree: Tree) -> dict[str, dict[str, float]]:
    caller, handles = Caller.process(), dict[int, Handle]()

    def create(index: int) -> None:
        handles[index] = tree.create(1, b"f%d.md" % index, 0o644, caller, _CREATE)[1]

    def read(index: int) -> None:
        handle = tree.open(handles[index].ino, os.O_RDONLY)
        tree.read(handle, 0, 4096)
        tree.flush(handle)
        tree.release(handle)

    found = {"create": _measure(create)}
    found["write 1 KiB"] = _measure(lambda index: tree.write(handles[index], 0, bytes(1024)))
    found["flush"] = _measure(lambda index: tree.flush(handles[index]))
    found["release"] = _measure(lambda index: tree.release(handles[index]))
    found["lookup"] = _measure(lambda index: tree.lookup(1, b"f%d.md" % index))
    found["attributes"] = _measure(lambda index: tree.attributes(handles[index].ino))
    found["open, read, flush, release"] = _measure(read)
    found["chmod"] = _measure(lambda index: tree.set_attributes(handles[index].ino, AttributeChange(mode=0o600)))
    found["mkdir"] = _measure(lambda index: tree.mkdir(1, b"d%d" % index, 0o755, caller))
    found["rename"] = _measure(lambda index: tree.rename(1, b"f%d.md" % index, 1, b"r%d.md" % index))
    found["unlink"] = _measure(lambda index: tree.unlink(1, b"r%d.md" % index))
    return found


def main() -> None:
    directory = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        local = os.path.join(directory, "local")
        os.mkdir(local)
        with Replica.open(
            os.path.join(directory, "replica"),
            volume_kind="home",
            volume_id="bench",
            session_kind="sdk",
            clock=SystemClock(),
        ) as replica:
            tree = Tree(replica)
            found = _measure_tree(tree)
            tree.close()
        report = {
            "unit": "microseconds",
            "machine": platform.machine(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "sqlite": apsw.sqlite_lib_version(),
            "tree": found,
            "local": _measure_local(local),
        }
        print(json.dumps(report, indent=1))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
