"""Real engines on one log in simulated time: each on a thread of its own, one running at a time, and time passes only
while all of them wait. Processor time counts for nothing, so what is seen is the protocol, the same on every machine.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from node import Node

from agentfs.errors import ObjectExists
from agentfs.model.records import Commit
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Entry, Store, StoredObject
from agentfs.sync.options import EngineOptions


class Time:
    """Simulated time, shared by all threads. One of them runs; it hands over when it waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._waiting: list[tuple[float, int, threading.Semaphore]] = []
        self._numbers = itertools.count()
        self._over = threading.Semaphore(0)
        self._failures: list[BaseException] = []

    def run(self, programs: Sequence[Callable[[], None]]) -> None:
        """Run the programs until all have ended. Raises what one of them raised."""
        for program in programs:
            start = threading.Semaphore(0)
            heapq.heappush(self._waiting, (self.now_s, next(self._numbers), start))
            threading.Thread(target=self._one, args=(program, start), daemon=True).start()
        self._next()
        self._over.acquire()
        if self._failures:
            raise self._failures[0]

    def _one(self, program: Callable[[], None], start: threading.Semaphore) -> None:
        start.acquire()
        try:
            program()
        except BaseException as error:  # told to the caller of `run`
            self._failures.append(error)
            self._waiting.clear()
        self._next()

    def _next(self) -> None:
        if self._waiting:
            when, _, ready = heapq.heappop(self._waiting)
            self.now_s = max(self.now_s, when)
            ready.release()
        else:
            self._over.release()

    def sleep(self, seconds: float) -> None:
        ready = threading.Semaphore(0)
        heapq.heappush(self._waiting, (self.now_s + max(0.0, seconds), next(self._numbers), ready))
        self._next()
        ready.acquire()


class SharedClock:
    """The clock of every machine. Its waits let the others run."""

    def __init__(self, time: Time) -> None:
        self._time = time

    def wall_ns(self) -> int:
        return 1_800_000_000_000_000_000 + int(self._time.now_s * 1e9)

    def monotonic(self) -> float:
        return self._time.now_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._time.sleep(seconds)
        return event.is_set()


class FarStore:
    """One machine's way to the store: every request takes effect halfway through its latency."""

    def __init__(self, store: Store, time: Time, latency_s: float, bytes_per_s: float = float("inf")) -> None:
        self._store, self._time, self._half_s, self._bytes_per_s = store, time, latency_s / 2, bytes_per_s
        self.url = store.url
        self.name_bytes_max = store.name_bytes_max
        self.puts = self.gets = self.lost = self.lost_bytes = 0
        self._together = 0

    def _pass(self, size_bytes: int = 0) -> None:
        if not self._together:
            self._time.sleep(self._half_s + size_bytes / self._bytes_per_s)

    def together(self, reads: Sequence[Callable[[], bytes | None]]) -> list[bytes]:
        """Reads that are under way at the same time, up to the first that finds nothing."""
        self._pass()
        self._together += 1
        found = []
        try:
            for read in reads:
                data = read()
                if data is None:
                    break
                found.append(data)
        finally:
            self.gets += max(0, len(reads) - len(found) - 1)
            self._together -= 1
        self._pass()
        return found

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        self.gets += 1
        self._pass()
        try:
            return self._store.get(name, start=start, length=length)
        finally:
            self._pass()

    def head(self, name: str) -> StoredObject:
        self.gets += 1
        self._pass()
        try:
            return self._store.head(name)
        finally:
            self._pass()

    def put(self, name: str, data: bytes, **options: Any) -> str:
        self.puts += 1
        self._pass(len(data))
        try:
            return self._store.put(name, data, **options)
        except ObjectExists:
            self.lost += 1
            self.lost_bytes += len(data)
            raise
        finally:
            self._pass()

    def delete(self, name: str) -> None:
        self._pass()
        self._store.delete(name)
        self._pass()

    def delete_many(self, names: Sequence[str]) -> None:
        self._pass()
        self._store.delete_many(names)
        self._pass()

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        self._pass()
        found = self._store.list(prefix, after=after, limit=limit, foreign=foreign)
        self._pass()
        return found


@dataclass
class Member:
    """A machine with its engine, and what it did."""

    name: str
    node: Node
    store: FarStore
    entropy: Random
    changes_per_s: float
    size_bytes: int = 500
    written: dict[bytes, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    lines: int = 0
    shared: bool = False
    """Also writes lines to a file that all write."""

    def heard(self, commit: Commit, _digest: bytes) -> None:
        if commit.author == self.name:
            now = self.node.clock.monotonic()
            self.commits.append(now)
            self.delays += [now - self.written.pop(it.name) for it in commit.links if it.name in self.written]

    def work(self, seconds: float) -> None:
        """Change files for so long; on return all of it is durable."""
        clock, engine = self.node.clock, self.node.engine
        engine.bootstrap()
        self.node.mkdir(self.name)
        end, due, number = clock.monotonic() + seconds, clock.monotonic() + self.entropy.random() * 0.3, 0
        while clock.monotonic() < end:
            while due <= clock.monotonic():
                number += 1
                self._change(number)
                due += self.entropy.expovariate(self.changes_per_s)
            clock.wait(threading.Event(), min(engine.tick(), max(0.0, due - clock.monotonic())))
        engine.push_until_clean(clock.monotonic() + 60)

    def _change(self, number: int) -> None:
        name = f"{self.name}-{number:05d}"
        self.node.write(f"{self.name}/{name}", self.entropy.randbytes(self.size_bytes))
        self.written[name.encode()] = self.node.clock.monotonic()
        if self.shared and number % 5 == 0:
            handle = self.node.open("shared.log", 0o2001 | 0o100)  # O_WRONLY, O_APPEND, O_CREAT
            self.node.tree.write(handle, 0, f"{self.name} says {number}\n".encode())
            self.node.tree.flush(handle)
            self.node.tree.release(handle)
            self.lines += 1


@dataclass
class Crowd:
    """Machines on one store."""

    directory: Path
    time: Time = field(default_factory=Time)
    memory: MemoryStore = field(default_factory=MemoryStore)
    members: list[Member] = field(default_factory=list)

    def add(
        self,
        *,
        latency_s: float = 0.025,
        bytes_per_s: float = float("inf"),
        changes_per_s: float = 5.0,
        size_bytes: int = 500,
        turns: bool = True,
        shared: bool = False,
    ) -> Member:
        name = f"m{len(self.members):02d}"
        entropy = Random(name)
        store = FarStore(self.memory, self.time, latency_s, bytes_per_s)
        heard: list[Member] = []
        node = Node(
            self.directory / name,
            store,
            SharedClock(self.time),  # type: ignore[arg-type]
            agent=name,
            entropy=entropy.randbytes,
            options=EngineOptions(prefetch=False, turns=turns),
            observers=(lambda *told: heard[0].heard(*told),),  # noqa: PLW0108 - it is made below
        )
        log = node.engine.ground.log
        log.read_window = lambda first, count=16: store.together(  # type: ignore[method-assign]
            [lambda at=at: log.read(at) for at in range(first, first + count)]  # type: ignore[misc]
        )
        member = Member(name, node, store, entropy, changes_per_s, size_bytes, shared=shared)
        heard.append(member)
        self.members.append(member)
        return member

    def run(self, seconds: float) -> None:
        """All work for so long, and then until everything is durable and taken in by all."""
        self.time.run([lambda it=it: it.work(seconds) for it in self.members])  # type: ignore[misc]
        self.time.run([it.node.engine.pull_now for it in self.members])  # type: ignore[list-item]

    def close(self) -> None:
        for member in self.members:
            self.time.run([member.node.close])

    @property
    def commits(self) -> int:
        return sum(len(it.commits) for it in self.members)

    @property
    def puts_per_commit(self) -> float:
        return sum(it.store.puts for it in self.members) / self.commits

    def fairness(self) -> float:
        """Jain's index of the commits."""
        counts = [len(it.commits) for it in self.members]
        return sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts))

    def describe(self, seconds: float) -> str:
        delays = sorted(delay for it in self.members for delay in it.delays)
        gets = sum(it.store.gets for it in self.members)
        shares = sorted(len(it.commits) for it in self.members)
        return (
            f"{self.commits / seconds:.1f} commits/s, {len(delays) / seconds:.0f} files/s; durable after "
            f"{delays[len(delays) // 2]:.2f} s (p99 {delays[int(len(delays) * 0.99)]:.2f}, max {delays[-1]:.2f}); "
            f"commits per writer {shares[0]}/{shares[len(shares) // 2]}/{shares[-1]}, "
            f"fairness {self.fairness():.3f}; "
            f"{self.puts_per_commit:.2f} puts and {gets / self.commits:.1f} gets a commit, "
            f"{sum(it.store.lost_bytes for it in self.members) / 1e6:.1f} MB in vain"
        )
