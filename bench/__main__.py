"""`python -m bench [--quick] [--only NAME…] [--json FILE]`: a mount beside the local file system, in one run."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentfs.testing.servers import ServerMissing
from bench import (
    contention_cases,
    day_cases,
    history_cases,
    index_cases,
    memory_cases,
    merge_cases,
    network_cases,
    peer_cases,
    recall_cases,
    report,
    retention_cases,
)
from bench.figures import LOCAL, MOUNT, MOUNT_WITHOUT, Finding, Row
from bench.local_cases import WORKS, Work, make_repository, measured
from bench.machine import facts, passthrough_possible
from bench.mounts import CommandError, Machine, mounted
from bench.worker import LoopError, Worker, worker

_NETWORK = (
    "durable",
    "seen",
    "rename-directory",
    "cold",
    "cold-read",
    "history",
    "day",
    "background",
    "indexing",
    "first-recall",
    "memory",
    "peer",
    "recall",
    "contention",
    "merge",
    "idle",
)
_WITHOUT_SERVER = ("background", "indexing", "first-recall", "memory", "peer", "recall", "contention", "merge")
_FAILURES = (LoopError, CommandError, subprocess.SubprocessError, OSError)
"""What one measurement may fail with while the others go on."""


def _names() -> list[str]:
    return [work.case for work in WORKS] + list(_NETWORK)


@dataclass(slots=True)
class Run:
    """One run: what was asked for, and what was found so far."""

    work: Path
    worker: Worker
    quick: bool
    only: Sequence[str]
    passthrough: bool
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def wanted(self, name: str) -> bool:
        return not self.only or any(name == part or (part not in _names() and part in name) for part in self.only)

    def attempt(self, name: str, measure: Callable[[], Sequence[Finding]]) -> None:
        """Measure, print and keep; a failure is printed and kept too."""
        if not self.wanted(name):
            return
        try:
            found = measure()
        except _FAILURES as error:
            self.failed(name, error)
            return
        for finding in found:
            print(report.finding_lines(finding), flush=True)
        self.findings += found

    def failed(self, name: str, error: Exception) -> None:
        self.failures[name] = str(error)
        print(f"{name}: FAILED: {error}", flush=True)


def parsed(words: Sequence[str]) -> argparse.Namespace:
    names = _names()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples: two minutes instead of ten")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"only these, or what has one of these in its name where none is called so: {', '.join(names)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="a directory on the disk to measure (default: %(default)s)",
    )
    chosen = parser.parse_args(words)
    unknown = [name for name in chosen.only if not any(name in known for known in names)]
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)} (there is: {' '.join(names)})")
    return chosen


def _works(run: Run) -> Sequence[Work]:
    return [work for work in WORKS if run.wanted(work.case)]


def local_and_mount(run: Run) -> None:
    """Every work on the local file system, on a mount, and on a mount without passthrough."""
    works = _works(run)
    if not works:
        return
    files = 200 if run.quick else 500
    make_repository(run.work / "repository", files=files, commits=5 if run.quick else 20)
    environment = {"BENCH_REPOSITORY": str(run.work / "repository"), "BENCH_REPOSITORY_FILES": str(files)}
    with ExitStack() as stack:
        sides = {LOCAL: run.work / "local"}
        machines: dict[str, Machine] = {}
        wanted = {MOUNT: "auto"} | ({MOUNT_WITHOUT: "off"} if run.passthrough else {})
        for side, passthrough in wanted.items():
            home = run.work / f"passthrough-{passthrough}"
            (home / "store").mkdir(parents=True)
            machines[side] = stack.enter_context(
                mounted(Machine(home, f"file://{home / 'store'}", passthrough=passthrough))
            )
            sides[side] = machines[side].mountpoint

        def settle(side: str) -> None:
            if side in machines:
                machines[side].sync()

        print(report.header(list(sides)), flush=True)
        for work in works:
            try:
                row = measured(work, sides, run.worker, settle, quick=run.quick, environment=environment)
            except _FAILURES as error:
                run.failed(work.name, error)
                continue
            run.rows.append(row)
            print(report.line(row, list(sides), passthrough=run.passthrough), flush=True)


@contextmanager
def _server(run: Run) -> Iterator[network_cases.Network | None]:
    """The S3 server and its proxy, or None, with the reason printed."""
    if not any(run.wanted(name) for name in _NETWORK if name not in _WITHOUT_SERVER):
        yield None
        return
    with ExitStack() as stack:
        try:
            net = stack.enter_context(network_cases.network(run.work / "network"))
        except ServerMissing as error:
            run.failed("everything with a store over the network", error)
            yield None
            return
        yield net


def everything(run: Run) -> None:
    idle = network_cases.IdleWatch(quick=run.quick)
    with _server(run) as net, ExitStack() as stack:
        watching = False
        if net is not None and run.wanted("idle"):
            stack.callback(idle.close)
            try:
                idle.start(net.server, run.work, run.worker)
                watching = True
            except _FAILURES as error:
                run.failed("idle", error)
        local_and_mount(run)
        print(flush=True)
        quick, loops = run.quick, run.worker
        run.attempt("background", lambda: network_cases.background(run.work / "background", loops, quick=quick))
        run.attempt("indexing", lambda: index_cases.indexing(run.work / "indexing", loops, quick=quick))
        run.attempt("first-recall", lambda: index_cases.first_recall(run.work / "first-recall", quick=quick))
        run.attempt("memory", lambda: memory_cases.memory(run.work / "memory", quick=quick))
        run.attempt("peer", lambda: peer_cases.peers_work(run.work / "peer", quick=quick))
        run.attempt("recall", lambda: recall_cases.recalls(run.work / "recall", quick=quick))
        run.attempt("contention", lambda: contention_cases.contention(run.work / "contention", quick=quick))
        run.attempt("merge", lambda: merge_cases.merges(run.work / "merge", quick=quick))
        run.attempt("retention", lambda: retention_cases.retention(run.work / "retention", quick=quick))
        if net is not None:
            run.attempt("durable", lambda: network_cases.durable(net, loops, quick=quick))
            run.attempt("seen", lambda: network_cases.seen(net, loops, quick=quick))
            run.attempt("rename-directory", lambda: network_cases.renamed(net, loops, quick=quick))
            run.attempt("cold-read", lambda: network_cases.cold_read(net, loops, quick=quick))
            run.attempt("history", lambda: history_cases.history(net, quick=quick))
            run.attempt("cold", lambda: network_cases.cold(net, loops, quick=quick))
            run.attempt("day", lambda: day_cases.day(net, quick=quick))
        if watching:
            run.attempt("idle", idle.finish)


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="agentfs-bench-", dir=parent)).resolve()
    try:
        yield path
    finally:
        # A mount that could not be unmounted must not be emptied.
        if any(os.path.ismount(mount) for mount in path.rglob("mount")):
            print(f"bench: something is still mounted under {path}; it is left there", file=sys.stderr)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(words: Sequence[str] | None = None) -> int:
    """0 when everything was measured (budgets missed are figures, not failures), 1 when something failed."""
    chosen = parsed(sys.argv[1:] if words is None else words)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    start = time.monotonic()
    try:
        with _workplace(chosen.directory) as work, worker() as loops:
            machine = facts(str(work))
            passthrough = passthrough_possible()
            print(", ".join(f"{name} {value}" for name, value in machine.items()), end="\n\n", flush=True)
            run = Run(work, loops, chosen.quick, chosen.only, passthrough)
            everything(run)
    except KeyboardInterrupt:
        print("bench: interrupted; unmounted and cleaned up", file=sys.stderr)
        return 130
    print("\n" + report.closing(run.rows, run.findings, passthrough=passthrough))
    print(f"{time.monotonic() - start:.0f} s in all")
    if chosen.json:
        found = report.document(
            machine, run.rows, run.findings, run.failures, quick=chosen.quick, passthrough=passthrough
        )
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
