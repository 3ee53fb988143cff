"""Collection of the log while the machines work.

`Collections` runs the real collector, several at a time, each from some machine and over its network, in steps that
anything may come between; it is paused, killed and overtaken. `collect_bare` is the plainest collection that the
format allows: no packs, no pins, no grace. A world has one or the other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from machine import Crash, Machine
from oracle import Broken, Oracle
from record import VOLUME

from agentfs.errors import AgentFSError
from agentfs.format.pin import Pin
from agentfs.format.snapshot import inode_record
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.model.lifecycle import NO_RULES, Rules
from agentfs.model.retention import Policy
from agentfs.retention.collector import Collector
from agentfs.retention.options import CollectorOptions
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Store


def collect_bare(store: MemoryStore, machines: Iterable[Machine], *, bases: bool) -> list[int]:
    """Stubs for all entries before the newest snapshot whose contents neither it nor a machine needs. `bases`: keep
    also what waiting merges started from. Returns their sequences."""
    log = Log(store, "space", "sim")
    snapshot = log.newest_snapshot().snapshot
    if snapshot is None:
        return []
    needed = {row[14] for row in snapshot.inodes}
    for machine in machines:
        assert machine.node is not None
        sql = machine.node.replica.connection
        needed |= {row[0] for row in sql.rows("SELECT sequence FROM content")}
        if bases:
            needed |= {row[0] for row in sql.rows("SELECT sequence FROM fork")}
    collected = [at for at in range(1, snapshot.sequence + 1) if at not in needed]
    for sequence in collected:
        log.collect(sequence, snapshot=snapshot.sequence)
    return collected


@dataclass(slots=True)
class Collections:
    random: Random
    oracle: Oracle
    running: list[tuple[Machine, Collector, Iterator[None]]] = field(default_factory=list)
    rules: Callable[[], Rules] = lambda: NO_RULES
    """Lifecycle rules in force."""
    pins: list[Pin] = field(default_factory=list)
    """That must be whole in the end."""
    _number: int = 0

    def step(self, machine: Machine) -> str:
        """A collection begins on `machine`, or one that is under way goes on for a while. Raises `Crash`."""
        if not self.running or (len(self.running) < 3 and self.random.random() < 0.3):
            self._begin(machine)
            return f"{machine.name} begins to collect"
        place = self.random.randrange(len(self.running))
        machine, collector, steps = self.running[place]
        if machine.paused:
            return "a collector is paused"
        steps_max = self.random.choice([1, 5, 20, 100])
        try:
            for _ in range(steps_max):
                next(steps)
        except StopIteration:
            del self.running[place]
            self.oracle.counts["collections"] += 1
            self.oracle.counts["commits collected"] += collector.report.commits
            self.oracle.counts["contents packed"] += collector.report.packed
            return f"{machine.name} collected: {collector.report}"
        except (Crash, AgentFSError) as error:
            del self.running[place]
            return f"{machine.name} collects no more: {error!r}"
        return f"{machine.name} collects"

    def _begin(self, machine: Machine) -> None:
        random = self.random
        collector = Collector(
            machine.store,
            VOLUME,
            clock=machine.clock,
            entropy=random.randbytes,
            author=machine.name.split("+")[0],
            policy=Policy(False, 0, random.choice([1, 1, 3])),
            rules=self.rules(),
            options=CollectorOptions(
                whole_s=random.choice([2.0, 10.0]),
                chunk_grace_s=random.choice([0.0, 20.0]),
                clock_tolerance_s=random.choice([3600.0, *[1e9] * 5]),
                pack_bytes=random.choice([500, 100_000]),
                packs_small_max=2,
                parallel=1,
            ),
            failpoint=machine.failpoint,
        )
        self.running.append((machine, collector, collector.run()))

    def pin(self, machine: Machine) -> str:
        """Somebody gives the newest snapshot a name: it is kept from now on, with all that is in it. Raises `Crash`,
        `AgentFSError`."""
        snapshot = Log(machine.store, "space", "sim").newest_snapshot().snapshot
        if snapshot is None:
            return "nothing to pin"
        self._number += 1
        pin = Pin(
            VOLUME, self.random.randbytes(16), "snapshot", f"p{self._number}", snapshot.sequence,
            snapshot.commit_digest, machine.clock.wall_ns(), machine.name.split("+")[0],
        )  # fmt: skip
        self.pins.append(Pins(machine.store, VOLUME, failpoint=machine.failpoint).put(pin))
        return f"{machine.name} pinned {pin.sequence}"

    def judge(self, store: Store) -> None:
        """What was pinned can be read, all of it."""
        log = Log(store, "space", "sim")
        contents = Contents(store, log)
        for pin in self.pins:
            snapshot = log.snapshot_at(pin.sequence)
            if snapshot is None:
                raise Broken(f"the pinned snapshot {pin.sequence} is gone")
            try:
                for row in snapshot.inodes:
                    content = inode_record(row).content
                    if content is not None:
                        contents.read(content)
            except AgentFSError as error:
                raise Broken(f"of the pinned snapshot {pin.sequence}: {error!r}") from error
        self.oracle.counts["pins"] += len(self.pins)
