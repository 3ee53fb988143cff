"""Writers on one log in simulated time: every one asks the real `Contention` when to look and when to put. No
threads, no clock, one seed."""

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from agentfs.sync.contention import Contention

APPLY_S = 0.003
"""Taking in one commit costs this much processor time."""
BUILD_S = 0.008
QUIET_MAX_S = 0.4
POLL_S = 1.0
CHANGE_BYTES = 500

Step = Generator[tuple[Any, ...], Any, None]


class World:
    """Simulated time and the log."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []
        """Who won each place."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._numbers), do))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] < until:
            self.now, _, do = heapq.heappop(self._due)
            do()
        self.now = until

    def advance(self, step: Step, value: Any = None) -> None:
        """Run a writer until it waits for something."""
        try:
            kind, *arguments = step.send(value)
        except StopIteration:
            return
        if kind == "sleep":
            self.at(self.now + max(0.0, arguments[0]), lambda: self.advance(step))
            return
        there_s, back_s, effect = arguments

        def arrives() -> None:
            answer = effect()
            self.at(self.now + back_s, lambda: self.advance(step, answer))

        self.at(self.now + there_s, arrives)


@dataclass
class Writer:
    """One machine. Times in seconds."""

    name: str
    world: World
    entropy: Random
    contention: Contention
    one_way_s: float = 0.0125
    processor: float = 1.0
    """How much slower its processor is."""
    changes_per_s: float = 20.0
    start: float = 0.0
    stop: float = float("inf")
    """It is dead from then on."""
    bytes_per_s: float = float("inf")
    pending: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """From each change until it was durable."""
    commits: list[float] = field(default_factory=list)
    puts: int = 0
    gets: int = 0
    losses: int = 0
    losses_max: int = 0
    """In a row."""
    put_bytes: int = 0
    lost_bytes: int = 0
    _head: int = 0
    _next_change: float = 0.0

    def run(self) -> Step:
        world = self.world
        yield "sleep", self.start + self.entropy.random() * 0.3
        self._next_change = world.now
        polled_at = last_commit = world.now
        while world.now < self.stop:
            self._change()
            now, contention = world.now, self.contention
            due_at = max(self.pending[0], last_commit) + QUIET_MAX_S if self.pending else float("inf")
            due = contention.waiting = now >= due_at
            look_at, put_at = contention.look_at(now), contention.put_at(now)
            if (due and now >= look_at) or now - polled_at >= POLL_S:
                yield from self._look(due)
                polled_at = world.now
            elif due and now >= put_at:
                won = yield from self._put()
                if won:
                    last_commit = world.now
            else:
                times = [polled_at + POLL_S, max(due_at, min(look_at, put_at)), now + 0.1]
                yield "sleep", max(0.001, min(times) - now)

    def _change(self) -> None:
        while self._next_change <= self.world.now:
            self.pending.append(self._next_change)
            self._next_change += self.entropy.expovariate(self.changes_per_s)

    def _get(self, count: int) -> Generator[tuple[Any, ...], Any, list[str]]:
        self.gets += count
        first = self._head
        found: list[str] = yield (
            "ask",
            self.one_way_s,
            self.one_way_s,
            lambda: self.world.log[first : first + count],
        )
        return found

    def _take(self, writer: str) -> Step:
        yield "sleep", APPLY_S * self.processor
        self._head += 1
        self.contention.saw(writer, self._head, self.world.now, ours=False)

    def _look(self, due: bool) -> Step:
        world, contention = self.world, self.contention
        asked = contention.window(world.now)
        count, found, start = asked, 0, world.now
        while True:
            got = yield from self._get(count)
            for writer in got:
                yield from self._take(writer)
            found += len(got)
            if len(got) < count or (due and contention.met(world.now) and contention.put_at(world.now) <= world.now):
                break
            count = min(16, 2 * count)
        contention.looked(world.now - start, world.now, asked=asked, found=found)

    def _put(self) -> Generator[tuple[Any, ...], Any, bool]:
        world, contention = self.world, self.contention
        start = world.now
        yield "sleep", BUILD_S * self.processor
        self._change()
        count = max(1, min(len(self.pending), contention.bytes_max // CHANGE_BYTES))
        size_bytes, place = count * CHANGE_BYTES, self._head

        def arrives() -> bool:
            if place == len(world.log):
                world.log.append(self.name)
                return True
            return False

        won: bool = yield "ask", self.one_way_s + size_bytes / self.bytes_per_s, self.one_way_s, arrives
        self.puts += 1
        self.put_bytes += size_bytes
        contention.put(world.now - start, world.now, size_bytes, lost=not won)
        if won:
            self._head += 1
            self.delays += [world.now - at for at in self.pending[:count]]
            del self.pending[:count]
            self.commits.append(world.now)
            contention.saw(self.name, self._head, world.now, ours=True)
            self.losses = 0
        else:
            self.lost_bytes += size_bytes
            self.losses += 1
            self.losses_max = max(self.losses_max, self.losses)
            winner = yield from self._get(1)
            yield from self._take(winner[0])
        return won

    def longest_gap_s(self, end: float) -> float:
        """The longest time without a commit of its own, while it lived and wanted to."""
        times = [self.start, *self.commits, min(end, self.stop)]
        return max(later - sooner for sooner, later in itertools.pairwise(times))


@dataclass(frozen=True)
class Run:
    """What came out."""

    writers: dict[str, Writer]
    seconds: float

    @property
    def commits(self) -> int:
        return sum(len(it.commits) for it in self.writers.values())

    @property
    def puts_per_commit(self) -> float:
        return sum(it.puts for it in self.writers.values()) / self.commits

    @property
    def gets_per_commit(self) -> float:
        return sum(it.gets for it in self.writers.values()) / self.commits

    @property
    def commits_per_s(self) -> float:
        return self.commits / self.seconds

    def delays(self) -> list[float]:
        return sorted(delay for it in self.writers.values() for delay in it.delays)

    def fairness(self) -> float:
        """Jain's index of the commits."""
        counts = [len(it.commits) for it in self.writers.values()]
        return sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts))

    def describe(self) -> str:
        delays = self.delays()
        gaps = max(it.longest_gap_s(self.seconds) for it in self.writers.values())
        return (
            f"{self.commits_per_s:.1f} commits/s, {self.puts_per_commit:.2f} puts and "
            f"{self.gets_per_commit:.1f} gets a commit, fairness {self.fairness():.3f}, "
            f"durable after {delays[len(delays) // 2]:.2f} s (p99 {delays[int(len(delays) * 0.99)]:.2f}, "
            f"max {delays[-1]:.2f}), longest gap {gaps:.1f} s, "
            f"fewest commits {min(len(it.commits) for it in self.writers.values())}, "
            f"most losses in a row {max(it.losses_max for it in self.writers.values())}"
        )


def run(
    profiles: list[dict[str, float]],
    *,
    seconds: float = 60.0,
    seed: int = 1,
    turns: bool = True,
) -> Run:
    """One writer for each profile (arguments of `Writer`), all on one log for so long."""
    entropy, world = Random(seed), World()
    writers = {}
    for number, profile in enumerate(profiles):
        name = f"w{number:02d}"
        contention = Contention(Random(entropy.random()).randbytes, turns=turns)
        writers[name] = Writer(name, world, Random(entropy.random()), contention, **profile)
        step = writers[name].run()
        world.at(0.0, lambda step=step: world.advance(step))  # type: ignore[misc]
    world.run(seconds)
    return Run(writers, seconds)
