"""What a day of typical agent work asks of a store, and what that costs, against one put for each write.

Two machines with one home, real engines, a real S3 server, and a simulated clock (`paced_clock`): ten hours of work
in forty bursts, and fourteen idle hours, of which two are played and the second stands for the rest. Requests are
counted by the counters of `agentfs usage`, and checked against what a proxy before the server saw. Simulated are the
time and the agent; a request takes none of the day.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from agentfs import Home
from agentfs.config.settings import Settings, load
from agentfs.usage.ledger import ledger_of
from agentfs.usage.prices import Provider, price_table
from agentfs.usage.usage_file import Count
from agentfs.volume.usage import usages
from bench.figures import Finding
from bench.mounts import AGENT
from bench.network_cases import Network
from bench.paced_clock import PacedClock

_HOUR = 3600.0
_WORK_HOURS = 10
_NIGHT_HOURS = 14
_BURSTS = 40
_SETTLED_S = 60.0
_PACED = frozenset(("engine", "view"))
_PROVIDERS = ("aws-s3", "cloudflare-r2")

Counts: TypeAlias = Counter[tuple[str, str, str]]
"""By kind, purpose and `requests`, `sent` or `received`."""


@dataclass(slots=True)
class Work:
    """What the agent did, as it would count it."""

    writes: int = 0
    """Files that were closed after writing: an append is one."""
    reads: int = 0
    written_bytes: int = 0
    """Of the whole files, as a put for each write would send them."""
    read_bytes: int = 0


@dataclass(slots=True)
class Agent:
    """Works in bursts: takes a note, rewrites some, appends to its journal, now and then makes something large; reads
    before it writes. The same seed does the same."""

    homes: list[Home]
    clock: PacedClock
    chance: random.Random = field(default_factory=lambda: random.Random(5))
    work: Work = field(default_factory=Work)
    sizes: dict[str, int] = field(default_factory=dict)

    def burst(self, number: int) -> None:
        """Three to ten steps on one machine, a few seconds apart: what a person asks an agent to do."""
        home = self.homes[0 if self.chance.random() < 0.7 else 1]
        for step in range(self.chance.randint(3, 10)):
            (do,) = self.chance.choices(
                (self._look_up, self._note, self._append, self._command, self._save, self._make),
                (35, 20, 22, 15, 5, 3),
            )
            do(home, f"{number:03d}-{step}")
            self.clock.run_until(self.clock.now_s + self.chance.uniform(2, 8))

    def _look_up(self, home: Home, _label: str) -> None:
        for _ in range(self.chance.randint(1, 3)):
            self._read(home)

    def _note(self, home: Home, label: str) -> None:
        """A note is read and written anew, or begun."""
        name = self._some() if self.chance.random() < 0.6 else ""
        if name:
            self._read(home, name)
        self._write(home, name or f"notes/{label}.md", self.chance.randint(800, 4000))

    def _append(self, home: Home, _label: str) -> None:
        line = b'{"event": "%s"}\n' % self.chance.randbytes(40).hex().encode()
        with home.open_file("journal.jsonl", "ab") as file:
            file.write(line)
        self._wrote("journal.jsonl", self.sizes.get("journal.jsonl", 0) + len(line))

    def _command(self, home: Home, label: str) -> None:
        """One command writes a handful of small files at once: a script, a patch, a checkout."""
        for number in range(self.chance.randint(3, 12)):
            self._write(home, f"work/{label}/{number}.txt", self.chance.randint(200, 3000))

    def _save(self, home: Home, label: str) -> None:
        """As editors save: a file beside it, then its name."""
        name = self._some() or f"notes/{label}.md"
        size = self.chance.randint(800, 4000)
        home.write(f"{name}.tmp", self.chance.randbytes(size // 2).hex().encode())
        home.move(f"{name}.tmp", name)
        self._wrote(name, size // 2 * 2)

    def _make(self, home: Home, label: str) -> None:
        self._write(home, f"artifacts/{label}.bin", self.chance.randint(300_000, 1_000_000))

    def _some(self) -> str:
        notes = [name for name in self.sizes if name.endswith(".md")]
        return self.chance.choice(notes) if notes else ""

    def _write(self, home: Home, name: str, size: int) -> None:
        home.write(name, self.chance.randbytes(size // 2).hex().encode())
        self._wrote(name, size // 2 * 2)

    def _wrote(self, name: str, size: int) -> None:
        self.sizes[name] = size
        self.work.writes += 1
        self.work.written_bytes += size

    def _read(self, home: Home, name: str = "") -> None:
        name = name or self._some()
        if name and home.exists(name):
            self.work.reads += 1
            self.work.read_bytes += len(home.read(name))


def day(net: Network, *, quick: bool) -> list[Finding]:
    """The findings, for each setting of the view. `quick` plays an hour of work, and an hour of the idle ones."""
    findings = []
    for view in ("off", "lazy", "on"):
        findings += _played(net, view, 1 if quick else _WORK_HOURS)
    return findings


def _played(net: Network, view: str, work_hours: int) -> list[Finding]:
    clock, store = PacedClock(_PACED), net.place()
    settings = [_settings(net.work / f"day-{view}-{machine}", store, view) for machine in "ab"]
    mark = net.mark()
    with _secrets(net), ExitStack() as stack:
        homes = [stack.enter_context(_opened(it, clock)) for it in settings]
        homes[0].write("notes/first.md", b"# There was a day before this one\n")
        clock.run_until(_SETTLED_S)
        opened = _counted(settings)
        agent = Agent(homes, clock)
        agent_day(agent, start=clock.now_s, hours=work_hours)
        worked = _counted(settings)
        clock.run_until(clock.now_s + _HOUR)
        evening = _counted(settings)
        clock.run_until(clock.now_s + _HOUR)
        night = _counted(settings)
        assert all(home.read("journal.jsonl").count(b"\n") > 0 for home in homes)
    _check(net, mark, _counted(settings))
    rest = _scaled(night - evening, _NIGHT_HOURS - 2)
    return _findings(view, agent.work, opened, worked - opened, (night - worked) + rest)


def agent_day(agent: Agent, *, start: float, hours: int) -> None:
    """The bursts of so many hours, at times that the seed says."""
    count = _BURSTS * hours // _WORK_HOURS
    for number, at in enumerate(sorted(agent.chance.uniform(0, hours * _HOUR - 120) for _ in range(count))):
        agent.clock.run_until(max(agent.clock.now_s, start + at))
        agent.burst(number)
    agent.clock.run_until(start + hours * _HOUR)


def _scaled(counts: Counts, factor: int) -> Counts:
    return Counter({key: count * factor for key, count in counts.items()})


def _settings(place: Path, store: str, view: str) -> Settings:
    place.mkdir(parents=True)
    flags = {"store": store, "state_dir": str(place / "state"), "index": False, "timeout": 60, "view": view}
    return load(flags, environment={"HOME": str(place)})


@contextmanager
def _opened(settings: Settings, clock: PacedClock) -> Iterator[Home]:
    with Home.open(AGENT, settings=settings, clock=clock) as home:
        yield home


@contextmanager
def _secrets(net: Network) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(net.server.environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _counted(settings: list[Settings]) -> Counts:
    """Of both machines together."""
    found: Counts = Counter()
    for it in settings:
        ledger_of(it.state_dir).flush()
        for usage in usages(it, lambda _place, _volume: True):
            for at, count in usage.counts.items():
                found[at.kind, at.purpose, "requests"] += count.requests
                found[at.kind, at.purpose, "sent"] += count.sent_bytes
                found[at.kind, at.purpose, "received"] += count.received_bytes
    return found


def _check(net: Network, mark: int, counts: Counts) -> None:
    seen = Counter(
        ("list" if "list-type=" in it.path else "get") if it.method == "GET" else it.method.lower()
        for it in net.proxy.requests()[mark:]
    )
    seen["delete"] += seen.pop("post", 0)
    ours = _kinds(counts)
    if any(seen[kind] != ours[kind] for kind in ("put", "list", "get", "head", "delete")):
        raise OSError(f"what was counted is not what the server was asked: {dict(ours)}, {dict(seen)}")


def _kinds(counts: Counts) -> Counter[str]:
    found: Counter[str] = Counter()
    for (kind, _, what), count in counts.items():
        if what == "requests":
            found[kind] += count
    return found


def _cost(provider: Provider, kinds: Counter[str], sent: int, received: int) -> float:
    """Of a day, in the provider's currency, without what is stored."""
    requests = sum(provider.request_cost(kind, count) for kind, count in kinds.items())
    return requests + provider.transfer_cost(Count(0, sent, received))


def _findings(view: str, work: Work, opened: Counts, worked: Counts, idle: Counts) -> list[Finding]:
    table = price_table("", must_exist=False)
    counts = worked + idle
    moved = {what: sum(n for (_, _, its), n in counts.items() if its == what) for what in ("sent", "received")}
    kinds, in_work = _kinds(counts), _kinds(worked)
    plain: Counter[str] = Counter(put=work.writes, get=work.reads)
    purposes: Counter[str] = Counter()
    for (kind, purpose, what), count in counts.items():
        if what == "requests" and count:
            purposes[f"{kind} {purpose}"] += count
    found = [
        Finding(
            f"requests of a day of work on two machines, view {view}",
            "requests",
            sum(kinds.values()),
            requests={kind: float(count) for kind, count in sorted(kinds.items())},
            note=f"{work.writes} writes and {work.reads} reads of files; {sum(in_work.values())} while working "
            f"({', '.join(f'{count} {kind}' for kind, count in sorted(in_work.items()) if count)}), the rest idle; "
            + ", ".join(f"{count} {what}" for what, count in purposes.most_common(8))
            + f"; before that {sum(_kinds(opened).values())} to make the store and the home and open it twice",
        )
    ]
    for provider in (table[each] for each in _PROVIDERS):
        ours = _cost(provider, kinds, moved["sent"], moved["received"])
        theirs = _cost(provider, plain, work.written_bytes, work.read_bytes)
        puts = provider.request_cost("put", kinds["put"]), provider.request_cost("put", plain["put"])
        found.append(
            Finding(
                f"cost of that day, view {view}, {provider.title}",
                f"{provider.currency}/1000",
                ours * 1000,
                note=f"a put for each write and a get for each read: {theirs * 1000:.3f}; of it puts "
                f"{puts[1] * 1000:.3f}, here {puts[0] * 1000:.3f} ({kinds['put']} puts against {plain['put']})",
            )
        )
    return found
