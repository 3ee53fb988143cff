"""Leases under everything that can go wrong: machines that pause, clones, lost answers, late puts, partitions, clocks
that run at different speeds. Whatever the order, these hold:

- no commit in the log breaks a fence;
- the content of the locked file only ever changes by commits whose writer held the lock then, each made from the
  content that was there when it took it: an increment is never lost;
- what somebody wrote is in the file's history or in a conflict copy, also when it was written without the lock.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from faults import FaultyStore, Network
from invariants import broken
from node import Node, TestClock

from agentfs.errors import LockLost, NoLock, ObjectNotFound, Replaced, StoreError, SyncTimedOut, Unavailable
from agentfs.format.commit import decode_commit, inline_bytes
from agentfs.format.layout import log_name, volume_prefix
from agentfs.fsck.store_check import StoreCheck
from agentfs.model.records import InlineContent
from agentfs.replica.locks import LockUse, lock_table
from agentfs.stores.memory import MemoryStore
from agentfs.sync.lock_steps import Granted
from agentfs.sync.options import EngineOptions

TTL = 20


class RateClock(TestClock):
    """Runs at its own speed beside the others."""

    __test__ = False

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate


class Machine:
    """A program that increments a number under a lock, on a machine of its own."""

    def __init__(self, name: str, directory: Path, network: Network, rate: float) -> None:
        self.name = name
        self.directory = directory
        self.network = network
        self.clock = RateClock(rate)
        self.store = FaultyStore(network)
        self.asleep = 0
        self.granted: Granted | None = None
        self.use: LockUse | None = None
        self.wrote: list[bytes] = []
        self.leaving = False
        """It has asked for the end of its lock, and was not answered yet: it writes no more."""
        self.start()

    def start(self) -> None:
        self.node = Node(
            self.directory,
            self.store,
            self.clock,
            agent=self.name,
            options=EngineOptions(parallel=1, poll_idle_max_s=4),
        )

    def take(self) -> None:
        if self.granted is not None:
            return
        try:
            use = LockUse(self.node.at("n"), self.node.replica.session, 1, TTL)
            found = self.node.engine.in_turn(lambda _g: self.node.engine.locks.take(use))
        except (StoreError, NoLock, Replaced, FileNotFoundError):
            return
        if isinstance(found, Granted):
            self.granted, self.use = found, use

    def increment(self, number: int) -> None:
        """As a program does it that was given the lock, whatever has become of it since: through the file that it has
        locked."""
        if self.granted is None or self.use is None or self.leaving:
            return
        lost = self.node.replica.connection.one("SELECT 1 FROM lost_lease WHERE epoch=?", (self.granted.epoch,))
        if lost:
            return  # its handle is of a conflict copy now: `test_locks_on_machines.py` looks at that
        try:
            before = self.node.read("n")
        except Unavailable:
            return
        mark = b"%s-%d" % (self.name.encode(), number)
        self.node.write("n", before + mark + b"\n")
        self.wrote.append(mark)

    def barge_in(self, number: int) -> None:
        """A program that knows nothing of locks adds a line."""
        if self.granted is None:
            mark = b"%s-rude-%d" % (self.name.encode(), number)
            try:
                self.node.append("n", mark + b"\n")
            except Unavailable:
                return
            self.wrote.append(mark)

    def give(self) -> None:
        if self.granted is None or self.use is None:
            return
        granted, use, self.leaving = self.granted, self.use, True
        try:
            self.node.engine.in_turn(lambda _g: self.node.engine.locks.give_back(use, granted.epoch))
        except LockLost:
            pass
        except (StoreError, NoLock):
            return
        self.granted, self.leaving = None, False

    def crash(self) -> None:
        """The process dies; the machine starts it again."""
        self.node.engine.close()
        self.node.replica.connection.close()
        lock = self.node.replica._session_lock
        if lock is not None:
            lock.release()
        self.granted, self.leaving = None, False
        self.start()


def _clone(machine: Machine, directory: Path) -> Machine:
    """As a virtual machine is cloned: the program that holds the lock goes on, on both."""
    shutil.copytree(machine.directory / "files", directory / "files")
    machine.node.replica.connection.backup_to(str(directory / "replica.db"))
    twin = Machine(machine.name, directory, machine.network, machine.clock.rate)
    session = twin.node.replica.session
    with twin.node.replica.transaction() as tx:
        if machine.granted is not None and machine.use is not None:
            use = twin.use = LockUse(machine.use.ino, session, 1, TTL)
            twin.granted, twin.leaving = machine.granted, machine.leaving
            tx.sql.execute("INSERT OR REPLACE INTO lock_use VALUES(?,?,?,?)", (use.ino, session, 1, TTL))
    twin.wrote = list(machine.wrote)
    return twin


def _history(store: MemoryStore) -> list[tuple[bytes, bool]]:
    """Every content of the file in the log, and whether its commit had a fence or took the lock."""
    found: list[tuple[bytes, bool]] = []
    sequence, last = 1, None
    locked: int | None = None
    while True:
        try:
            data = store.get(log_name(volume_prefix("space", "sim"), sequence)).data
        except ObjectNotFound:
            return found
        commit, _ = decode_commit(data, volume="space-sim", sequence=sequence)
        for record in commit.inodes:
            content = record.content
            if content is None or (locked is not None and record.id != locked):
                continue
            locked = record.id if locked is None else locked
            if content.digest == last or not isinstance(content, InlineContent) or content.sequence != sequence:
                continue
            last = content.digest
            found.append((inline_bytes(data, content), any(it.inode == locked for it in commit.fences)))
        sequence += 1


def _run(seed: int, directory: Path, steps: int) -> None:
    random = Random(seed)
    network = Network(MemoryStore(), random, fault_chance=0.0)
    machines = [Machine(name, directory / name, network, random.choice((0.5, 1.0, 3.0))) for name in ("a", "b", "c")]
    machines[0].node.write("n", b"")
    machines[0].node.sync()
    for it in machines[1:]:
        it.node.engine.pull_now()
    network.fault_chance = random.choice((0.0, 0.1, 0.3))
    numbers, rude = 0, seed % 3 == 0
    for _ in range(steps):
        elapsed = random.choice((0.05, 0.5, 3.0, 12.0))
        for it in machines:
            it.clock.now_s += elapsed * it.clock.rate
            it.asleep = max(0, it.asleep - 1)
        if random.random() < 0.2:
            network.deliver()
        it = random.choice(machines)
        if it.asleep:
            continue
        match random.randrange(12):
            case 0 | 1 | 2:
                it.take()
            case 3 | 4 | 5:
                numbers += 1
                it.increment(numbers)
            case 6 | 7:
                it.give()
            case 8:
                it.node.engine.tick()
            case 9:
                it.asleep = random.randrange(20)
            case 10:
                it.store.partition = random.random() < 0.3
            case 11 if len(machines) < 5 and random.random() < 0.3:
                machines.append(_clone(it, directory / f"twin{len(machines)}"))
            case _ if random.random() < 0.2:
                it.crash()
        if rude and random.random() < 0.05:
            numbers += 1
            it.barge_in(numbers)
    _settle(machines, network)
    _judge(machines, network, rude=rude)


def _settle(machines: list[Machine], network: Network) -> None:
    network.fault_chance = 0.0
    while network.late:
        network.deliver()
    for it in machines:
        it.store.partition = False
        it.granted = None
        with it.node.replica.transaction() as tx:
            tx.sql.execute("DELETE FROM lock_use")
    for _ in range(6):
        for it in machines:
            it.clock.now_s += 2 * TTL
            it.node.engine.tick()
            try:
                it.node.engine.push_until_clean(it.clock.monotonic() + 5)
            except SyncTimedOut:
                continue
            it.node.engine.pull_now()


def _judge(machines: list[Machine], network: Network, *, rude: bool) -> None:
    shown = [it.node.show() for it in machines]
    assert all(one == shown[0] for one in shown), "they do not converge"
    history = _history(network.store)
    for number, (data, fenced) in enumerate(history[1:], 1):
        before = history[number - 1][0]
        if rude:  # what is written without the lock is merged, when nobody has it
            assert set(before.splitlines()) <= set(data.splitlines()), f"content {number} lost what was there"
            continue
        assert fenced, f"content {number} came without the lock"
        assert data.startswith(before), f"content {number} lost what {number - 1} had"
    everything = b"".join(data for _, _, data in shown[0].values()) + b"".join(data for data, _ in history)
    for it in machines:
        for mark in it.wrote:
            assert mark + b"\n" in everything, f"{mark!r} of {it.name} is lost"
        assert not broken(it.node.replica)
        assert not it.node.replica.connection.rows("SELECT * FROM lock_breach")
        assert lock_table(it.node.replica.connection) == lock_table(machines[0].node.replica.connection)
    check = StoreCheck(network.store, "space", "sim").run()
    assert not [it for it in check.findings.found if it.kind not in ("blob-unused", "store-file")]
    for it in machines:
        it.node.close()


SEEDS = int(os.environ.get("AGENTFS_LEASE_SEEDS", "10"))
"""How many worlds; a hunt takes hundreds."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nobody_writes_without_the_lock(seed: int) -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # every commit syncs
    with tempfile.TemporaryDirectory(prefix="agentfs-leases-", dir=memory) as directory:
        _run(seed, Path(directory), 100)
