"""What the store is asked, and how long until something is durable or seen: an S3 server behind a delaying proxy.

Request counts are the proxy's and exact. The proxy and the server are processes of their own.
"""

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentfs.testing.fault_proxy import RemoteFaultProxy, remote_fault_proxy
from agentfs.testing.servers import S3Server, ministack
from bench.figures import Finding, summarized
from bench.mounts import Machine, mounted
from bench.worker import Worker

BUCKET = "bench"
LATENCIES_MS = (0, 12, 45)
_BURST = 100
_LOG = r"/log/"
_IDLE_SECONDS_MIN = 15.0
"""Between two requests of a mount with nothing to do, by its budget."""


@dataclass(slots=True)
class Network:
    """A server, a proxy before it, and numbered places: no scenario sees another's objects."""

    server: S3Server
    proxy: RemoteFaultProxy
    work: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def place(self) -> str:
        """The URL of a new, empty root, through the proxy."""
        return self.server.at(self.proxy.endpoint).url(BUCKET, f"place-{next(self._numbers)}")

    def machine(self, store: str) -> Machine:
        """A machine that has never seen this store."""
        home = self.work / f"machine-{next(self._numbers)}"
        return Machine(home, store, secrets=self.server.environment())

    def counted(self, *, since: int = 0) -> Counter[str]:
        """Requests by method, the first `since` of them left out; puts and gets of log entries apart."""
        kinds: Counter[str] = Counter()
        for request in self.proxy.requests()[since:]:
            in_log = "list-type=" not in request.path and _LOG in request.path
            listed = "list-type=" in request.path
            kinds[f"{'LIST' if listed else request.method}{' log' if in_log else ''}"] += 1
        return kinds

    def mark(self) -> int:
        return len(self.proxy.requests())


@contextmanager
def network(work: Path) -> Iterator[Network]:
    """Start server and proxy. Raises `ServerMissing`."""
    with ministack() as server, remote_fault_proxy(server.endpoint) as proxy:
        server.create_bucket(BUCKET)
        yield Network(server, proxy, work)


def _seconds(start: float) -> float:
    return time.perf_counter() - start


def medians(counts: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Per method, the median over trials in which it may be missing."""
    kinds = sorted({kind for count in counts for kind in count})
    return {kind: statistics.median(count.get(kind, 0) for count in counts) for kind in kinds}


# ---- durable ----


def durable(net: Network, worker: Worker, *, quick: bool) -> list[Finding]:
    """100 new small files, then `agentfs sync`: how long, and what was sent."""
    trials = 3 if quick else 7
    findings = []
    with mounted(net.machine(net.place())) as machine:
        for latency in LATENCIES_MS:
            net.proxy.set_latency(latency)
            machine.sync()
            empty, full, counts = [], [], []
            for trial in range(trials):
                start = time.perf_counter()
                machine.sync()
                empty.append(_seconds(start))
                mark = net.mark()
                worker.run("burst", machine.mountpoint / f"burst-{latency}-{trial}", _BURST)
                start = time.perf_counter()
                machine.sync()
                full.append(_seconds(start))
                counts.append(net.counted(since=mark))
            findings.append(_durable_finding(latency, empty, full, counts))
    net.proxy.set_latency(0)
    return findings


def _durable_finding(
    latency: int, empty: Sequence[float], full: Sequence[float], counts: Sequence[Counter[str]]
) -> Finding:
    summary = summarized([seconds * 1000 for seconds in full])
    nothing = statistics.median(empty) * 1000
    puts = statistics.median(sum(n for kind, n in count.items() if kind.startswith("PUT")) for count in counts)
    extra = summary.median - nothing
    return Finding(
        f"100 dirty files durable: agentfs sync, store {latency} ms away",
        "ms",
        summary.median,
        summary.p99,
        len(full),
        medians(counts),
        "1 put",
        puts <= 1,
        f"{nothing:.0f} ms of it with nothing to send (starting the command): {extra:+.0f} ms for the files",
    )


# ---- seen ----


def seen(net: Network, worker: Worker, *, quick: bool, latency_ms: int = 12) -> list[Finding]:
    """From close() on one mount until a second one shows the file, by polling `stat` there every 2 ms."""
    trials = 12 if quick else 60
    net.proxy.set_latency(latency_ms)
    store = net.place()
    with mounted(net.machine(store)) as here, mounted(net.machine(store)) as there:
        environment = {"BENCH_OTHER": str(there.mountpoint)}
        worker.run_in("seen", here.mountpoint, 2, environment=environment)
        samples = worker.run_in("seen", here.mountpoint, trials, environment=environment)
    net.proxy.set_latency(0)
    summary = summarized([sample / 1e9 for sample in samples])
    limit = 1.5 + 2 * latency_ms / 1000
    return [
        Finding(
            f"seen on a second mount, store {latency_ms} ms away",
            "s",
            summary.median,
            summary.p99,
            len(samples),
            budget=f"p99 ≤ {limit:.2f} s",
            met=summary.p99 <= limit,
        )
    ]


# ---- a new machine ----


def cold(net: Network, worker: Worker, *, quick: bool, latency_ms: int = 12) -> list[Finding]:
    """A new machine mounts a large tree: until the listing of a directory of 1000 answers."""
    files = 10_000 if quick else 100_000
    store = net.place()
    with mounted(net.machine(store)) as maker:
        (made,) = worker.run("tree", maker.mountpoint / "many", files)
        maker.sync()
    net.proxy.set_latency(latency_ms)
    mark = net.mark()
    start = time.perf_counter()
    with mounted(net.machine(store)) as newcomer:
        mounted_seconds = _seconds(start)
        names = sorted(path.name for path in (newcomer.mountpoint / "many").iterdir())
        listed = sum(1 for _ in (newcomer.mountpoint / "many" / names[-1]).iterdir())
        seconds = _seconds(start)
        counts = net.counted(since=mark)
    net.proxy.set_latency(0)
    requests = sum(counts.values())
    complete = len(names) == files // 1000 and listed == 1000
    return [
        Finding(
            f"cold mount of {files:,} files until ls answers, store {latency_ms} ms away",
            "s",
            seconds,
            requests=dict(counts),
            budget="" if quick else "≤ 5 requests",
            met=None if quick else complete and requests <= 5,
            note=f"{mounted_seconds:.2f} s of it until the mount command returned; making the tree took "
            f"{made / 1e9:.1f} s" + ("" if complete else "; THE LISTING WAS NOT COMPLETE"),
        )
    ]


_COLD_KIB = (1, 256)
"""Below and above what commits carry inline."""


def cold_read(net: Network, worker: Worker, *, quick: bool, latency_ms: int = 12) -> list[Finding]:
    """First reads on a new machine, one after the other, right after it mounted."""
    files = 20 if quick else 60
    findings = []
    for size in _COLD_KIB:
        store = net.place()
        with mounted(net.machine(store)) as maker:
            worker.run("burst", maker.mountpoint / "notes", files, environment={"BENCH_KIB": str(size)})
            maker.sync()
        net.proxy.set_latency(latency_ms)
        mark = net.mark()
        with mounted(net.machine(store)) as newcomer:
            samples = worker.run_in("read_all", newcomer.mountpoint / "notes", 0)
            counts = net.counted(since=mark)
        net.proxy.set_latency(0)
        summary = summarized([sample / 1e6 for sample in samples])
        name = f"open + first read of {size} KiB on a new machine, store {latency_ms} ms away"
        note = f"requests of the mount, of {files} reads in a row and of the prefetch beside them"
        findings.append(Finding(name, "ms", summary.median, summary.p99, len(samples), dict(counts), note=note))
    worker.run_in("burst", net.work, 0, environment={"BENCH_KIB": "1"})
    return findings


def renamed(net: Network, worker: Worker, *, quick: bool) -> list[Finding]:
    """Renaming a directory of many files, then `agentfs sync`: what is sent."""
    files = 1_000 if quick else 10_000
    with mounted(net.machine(net.place())) as machine:
        worker.run("tree", machine.mountpoint / "before", files)
        machine.sync()
        mark = net.mark()
        start = time.perf_counter()
        (machine.mountpoint / "before").rename(machine.mountpoint / "after")
        microseconds = _seconds(start) * 1e6
        machine.sync()
        counts = net.counted(since=mark)
    puts = sum(number for kind, number in counts.items() if kind.startswith("PUT"))
    name = f"rename of a directory of {files:,} files"
    return [Finding(name, "us", microseconds, requests=dict(counts), budget="1 put", met=puts <= 1)]


# ---- nothing to do ----


class IdleWatch:
    """A mount with nothing to do, watched through a proxy of its own while other things are measured."""

    def __init__(self, *, quick: bool) -> None:
        self.settle_seconds = 30.0 if quick else 90.0
        self.window_seconds = 30.0 if quick else 60.0
        self._stack = ExitStack()
        self._net: Network | None = None
        self._machine: Machine | None = None
        self._since = 0.0

    def start(self, server: S3Server, work: Path, worker: Worker) -> None:
        """Mount, write a file, make it durable; from here on nothing touches the mount."""
        proxy = self._stack.enter_context(remote_fault_proxy(server.endpoint))
        self._net = Network(server, proxy, work / "idle")
        store = server.at(proxy.endpoint).url(BUCKET, "idle")
        self._machine = self._stack.enter_context(mounted(self._net.machine(store)))
        worker.run("burst", self._machine.mountpoint / "notes", 10)
        self._machine.sync()
        self._since = time.perf_counter()
        self._timer = threading.Timer(self.settle_seconds, self._settled)
        self._timer.daemon = True
        self._timer.start()
        self._mark: int | None = None

    def _settled(self) -> None:
        assert self._net is not None
        self._mark = self._net.mark()

    def finish(self) -> list[Finding]:
        """Wait for the end of the window if it is not over, and count."""
        assert self._net is not None
        self._timer.join()
        assert self._mark is not None
        mark = self._mark
        window = _seconds(self._since) - self.settle_seconds
        if window < self.window_seconds:
            time.sleep(self.window_seconds - window)
            window = self.window_seconds
        counts = self._net.counted(since=mark)
        per_minute = sum(counts.values()) * 60 / window
        name = f"idle mount, per minute ({window:.0f} s watched, {self.settle_seconds:.0f} s after the last change)"
        # A window that begins just before a look holds one more than its length says.
        met = sum(counts.values()) <= window // _IDLE_SECONDS_MIN + 1
        finding = Finding(name, "requests", per_minute, requests=dict(counts), budget="≤ 1 in 15 s", met=met)
        return [finding]

    def close(self) -> None:
        """Unmount and end the proxy."""
        if hasattr(self, "_timer"):
            self._timer.cancel()
        self._stack.close()


# ---- in the background ----


def background(work: Path, worker: Worker, *, quick: bool) -> list[Finding]:
    """What a busy engine does to a foreground write: the same paced loop with nothing to send, and with much.

    On a directory as a store: an S3 server on this machine would take more of the processors than the engine.
    """
    operations = 500 if quick else 1500
    rounds = 2 if quick else 3
    quiet: list[float] = []
    busy: list[float] = []
    sent = 0
    (work / "store").mkdir(parents=True)
    with mounted(Machine(work / "machine", f"file://{work / 'store'}")) as machine:
        for number in range(rounds):
            machine.sync()
            quiet += _paced(worker, machine.mountpoint / f"quiet-{number}", operations)
            machine.sync()
            worker.run("heavy", machine.mountpoint / f"heavy-{number}", 12 if quick else 24)
            objects = _objects(work / "store")
            busy += _paced(worker, machine.mountpoint / f"busy-{number}", operations)
            sent += _objects(work / "store") - objects
    before, after = summarized(quiet), summarized(busy)
    added = (after.p99 - before.p99) / 1000
    return [
        Finding(
            "p99 of create + write + close while the engine sends, added",
            "ms",
            added,
            trials=len(busy),
            budget="≤ 1 ms",
            met=added <= 1.0 if sent else None,
            note=f"p99 {before.p99:.0f} µs with nothing to send, {after.p99:.0f} µs while sending; "
            f"medians {before.median:.0f} and {after.median:.0f} µs; {sent} objects were sent meanwhile",
        )
    ]


def _paced(worker: Worker, directory: Path, operations: int) -> list[float]:
    return [sample / 1000 for sample in worker.run("paced", directory, operations)]


def _objects(store: Path) -> int:
    return sum(1 for path in store.rglob("*") if path.is_file())
