"""Many writers on one space: one engine in one process for each, over HTTP to a store that is 25 ms away.

The same minute is measured three times: one writer alone, all of them as they were before they took turns (who was
slower tries again at once), and all of them taking turns. Each writer tells when its changes were in the log; puts
and gets are counted at the store. All processes share the processors of this machine, and every commit is taken in by
every writer: on few processors the figures are of the machine as much as of the policy, so the ratio is what to look
at. The store is `bench.near_store`, which costs little beside them.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agentfs.clock import SystemClock
from agentfs.errors import NotFound
from agentfs.format.commit import decode_commit
from agentfs.log.log import Log
from agentfs.replica.replica import Replica
from agentfs.stores.open import open_store
from agentfs.sync.engine import Engine
from agentfs.tree.options import TreeOptions
from agentfs.tree.tree import Tree
from bench.contention_writer import SHARED
from bench.figures import Finding, percentile
from bench.near_store import NearStore, near_store
from bench.worker import LoopError

_KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "checks"}
_EXIT_SECONDS_MAX = 200.0
_CHANGES_PER_SECOND = 2.0
"""Of each writer: few, so that many writers on few processors still wait for each other and not for these."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one crowd of writers did."""

    writers: int
    seconds: float
    found: Sequence[dict[str, Any]]
    commits_by_writer: dict[str, int]
    """In the measured time."""
    puts: int
    gets: int
    put_bytes: int
    log_bytes: int
    """Of the commits that stand in the log."""
    log_commits: int
    missing: int
    """Lines and files that were acknowledged, and are not in a fresh copy. Must be 0."""

    def delays(self) -> list[float]:
        return sorted(delay for it in self.found for delay in it["delays"])

    def fairness(self) -> float:
        return jain([self.commits_by_writer.get(it["name"], 0) for it in self.found])


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has all."""
    squares = sum(share**2 for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


@contextmanager
def _started(asked: dict[str, object]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.contention_writer"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **_KEYS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def crowd(
    near: NearStore, work: Path, writers: int, *, seconds: float, turns: bool, changes_per_second: float
) -> Outcome:
    """Let them write for so long, then until everything is durable."""
    work = work / f"crowd-{time.monotonic_ns()}"
    store = f"s3://bench/{work.name}?endpoint={quote(near.endpoint, safe='')}&region=us-east-1"
    near.forget()
    with ExitStack() as stack:
        processes = []
        for number in range(writers):
            asked: dict[str, object] = {
                "name": f"w{number:02d}",
                "directory": str(work / f"w{number:02d}"),
                "store": store,
                "turns": turns,
                "seconds": seconds,
                "changes_per_second": changes_per_second,
            }
            processes.append(stack.enter_context(_started(asked)))
        for process in processes:
            assert process.stdout is not None and process.stdin is not None
            if process.stdout.readline() != "ready\n":
                raise LoopError("a writer did not start")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        found = []
        for process in processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise LoopError("a writer ended too early")
            found.append(json.loads(line))
            process.wait(_EXIT_SECONDS_MAX)
    broken = [f"{it['name']}: {it['error']}" for it in found if it["error"]]
    if broken:
        raise LoopError("; ".join(broken[:3]))
    facts = near.facts()
    sizes, missing = _check(store, work / "reader", found)
    return Outcome(
        writers=writers,
        seconds=seconds,
        found=found,
        commits_by_writer={it["name"]: it["commits_in_time"] for it in found},
        puts=facts["counts"]["PUT log"],
        gets=facts["counts"]["GET log"],
        put_bytes=facts["bytes"]["PUT log"],
        log_bytes=sum(sizes),
        log_commits=len(sizes),
        missing=missing,
    )


def _check(url: str, directory: Path, found: Sequence[dict[str, Any]]) -> tuple[list[int], int]:
    """The sizes of the commits in the log, and how much of what was written is not in a fresh copy."""
    store = open_store(url, environment=_KEYS)
    log, clock = Log(store, "space", "contention"), SystemClock()
    sizes, names = [], set()
    for sequence in itertools.count(1):
        data = log.read(sequence)
        if data is None:
            break
        sizes.append(len(data))
        commit, _ = decode_commit(data, volume=log.volume, sequence=sequence)
        names |= {link.name for link in commit.links}
    replica = Replica.open(
        str(directory), volume_kind="space", volume_id="contention", session_kind="engine", clock=clock
    )
    engine = Engine(replica, store, volume_kind="space", volume_id="contention", author="reader", clock=clock)
    tree = Tree(replica, hydrator=engine, options=TreeOptions(agent="reader"))
    try:
        engine.bootstrap()
        text = _shared(tree)
    finally:
        tree.close()
        engine.close()
        replica.close()
    lines = len([line for line in text.splitlines() if b" says " in line])
    files = sum(name.endswith(b".md") for name in names)
    wanted = sum(len(it["delays"]) for it in found)
    return sizes, max(0, sum(it["lines"] for it in found) - lines) + max(0, wanted - files)


def _shared(tree: Tree) -> bytes:
    try:
        ino = tree.lookup(1, SHARED).ino
    except NotFound:  # nobody came as far as writing to it
        return b""
    tree.hydrate(ino)
    handle = tree.open(ino, os.O_RDONLY)
    try:
        return tree.read(handle, 0, 1 << 30)
    finally:
        tree.release(handle)


def _finding(name: str, outcome: Outcome) -> Finding:
    shares = sorted(outcome.commits_by_writer.values())
    files = sorted(it["durable_in_time"] for it in outcome.found)
    delays = outcome.delays()
    changes = sum(it["durable_in_time"] for it in outcome.found)
    commits = sum(shares)
    wasted = outcome.put_bytes - outcome.log_bytes
    note = (
        f"{commits / outcome.seconds:.1f} commits/s, {changes / outcome.seconds:.0f} files/s durable in time "
        f"({sum(it['left'] for it in outcome.found)} left at the end, clean after "
        f"{max(it['clean_after_s'] for it in outcome.found):.1f} s more); commits per writer "
        f"{shares[0]} / {shares[len(shares) // 2]} / {shares[-1]}, fairness {outcome.fairness():.3f}; "
        f"files per writer {files[0]} / {files[len(files) // 2]} / {files[-1]}, fairness {jain(files):.3f}; "
        f"slowest change {delays[-1]:.1f} s; {wasted / 1e6:.1f} MB put in vain beside "
        f"{outcome.log_bytes / 1e6:.1f} in the log; {sum(it['cpu_s'] for it in outcome.found):.0f} s of processor; "
        f"lost: {outcome.missing}"
    )
    return Finding(
        name,
        "s",
        percentile(delays, 0.5),
        percentile(delays, 0.99),
        len(delays),
        {
            "PUT log per commit": round(outcome.puts / outcome.log_commits, 2),
            "GET log per commit": round(outcome.gets / outcome.log_commits, 1),
        },
        met=None,
        note=note,
    )


def contention(work: Path, *, quick: bool, latency_ms: int = 25, writers: int = 20) -> list[Finding]:
    """From a change until it is in the log, for each crowd."""
    seconds = 20.0 if quick else 60.0
    findings = []
    with near_store(latency_ms) as near:
        for name, count, turns in (
            ("one writer", 1, True),
            (f"{writers} writers, no turns", writers, False),
            (f"{writers} writers in turns", writers, True),
        ):
            outcome = crowd(near, work, count, seconds=seconds, turns=turns, changes_per_second=_CHANGES_PER_SECOND)
            findings.append(_finding(f"{name}: a change is durable, store {latency_ms} ms away", outcome))
    return findings
