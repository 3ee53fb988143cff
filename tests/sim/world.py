"""The simulation: machines that change files, sync over a bad store, crash, get cloned, restored and paused, with
clocks that are hours apart. One thread, one seed.

`run` ends with the network healed: then all machines, and one that never was there before, show the same tree, fsck
finds nothing, and the oracle finds every token that was acknowledged.
"""

from pathlib import Path
from random import Random

from changes import FILES, Changes
from collecting import Collections, collect_bare
from faults import FaultyStore, Network
from in_turn import one_thread
from invariants import broken
from keeping import WorldClock
from machine import Crash, Machine
from merges import judged
from node import TestClock
from oracle import Broken, Oracle
from programs import LOCKED, Program
from record import Record
from texts import kind_of, tokens
from viewed import Viewed

from agentfs.errors import AgentFSError
from agentfs.format import layout
from agentfs.format.store_file import encode_store_file, new_store_file
from agentfs.fsck.findings import Findings
from agentfs.fsck.replica_check import compare, read_replica
from agentfs.fsck.store_check import StoreCheck
from agentfs.stores.memory import MemoryStore

MACHINES_MAX = 5
PROGRAMS_MAX = 3
_CHECK_CHANCE = 0.4
_HOUR_NS = 3600 * 10**9
_DECLARED = {"blob-unused", "pin-unheld"}
"""Findings that are as they should be: chunks of commits that lost their race, pins of who was killed amid."""


class World:
    def __init__(self, seed: int, directory: Path, *, verbose: bool = False, view: bool = False) -> None:
        """`view`: the machines keep one, and apply lifecycle rules."""
        self.random = Random(seed)
        self.directory = directory
        self.verbose = verbose
        self.clock = TestClock()
        """The store's."""
        self.oracle = Oracle()
        self.record = Record(self.oracle)
        self.network = Network(MemoryStore(clock=self.clock), self.random, written=self.record.written)
        self.network.fault_chance = self.random.choice([0.0, 0.05, 0.2])
        self.network.store.put(layout.STORE_FILE, encode_store_file(new_store_file(self.clock.wall_ns())))
        self.crash_chance = self.random.choice([0.0, 0.0, 0.03])
        self.names = self.random.sample(FILES, self.random.choice([1, 2, 4, len(FILES)]))
        self.collections = Collections(self.random, self.oracle) if self.random.random() < 0.6 else None
        self.locks = self.random.random() < 0.3
        self.token = 0
        self.copies = 0
        self.machines: list[Machine] = []
        self.calm = False
        self.history: list[str] = []
        self.viewed = Viewed(self, Random(f"view {seed}")) if view else None
        for number in range(self.random.choice([2, 2, 3, 4])):
            self._add(f"m{number}")

    # ---- machines ----

    def _add(self, name: str) -> Machine:
        clock = TestClock() if self.viewed is None else WorldClock(self.clock)
        clock.skew_ns = self.random.randrange(-12 * _HOUR_NS, 12 * _HOUR_NS)
        if self.viewed is not None and (self.viewed.exact or self.random.random() < 0.4):
            clock.skew_ns = 0
        machine = Machine(
            name, self.directory / name, FaultyStore(self.network), clock, self.random, self.oracle, self.fresh,
            self.record.by_digest, self._failpoint,
        )  # fmt: skip
        machine.look_s = self.viewed.look_s() if self.viewed is not None else 0.0
        self.machines.append(machine)
        self._start(machine)
        return machine

    def _start(self, machine: Machine) -> None:
        machine.start()
        assert machine.node is not None
        self.guarded(machine, machine.node.engine.bootstrap)

    def _failpoint(self, name: str) -> None:
        if not self.calm and self.random.random() < self.crash_chance:
            self.log(f"  crash at {name}")
            raise Crash(name)

    def _restart(self, machine: Machine) -> None:
        machine.crash()
        self._start(machine)

    def guarded(self, machine: Machine, do, *arguments) -> bool:
        """Returns whether it succeeded."""
        try:
            do(*arguments)
        except Crash:
            self._restart(machine)
        except AgentFSError as error:
            self.log(f"  {type(error).__name__}: {error}")
        else:
            return True
        return False

    def fresh(self) -> bytes:
        self.token += 1
        return b"<%d>" % self.token

    def log(self, line: str) -> None:
        self.history.append(line)
        if self.verbose:
            print(line, flush=True)

    # ---- the run ----

    def run(self, steps: int) -> None:
        with judged(self.oracle), one_thread():
            self._run(steps)

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            machine = self.random.choice(self.machines)
            self.step(machine)
            if self.random.random() < _CHECK_CHANCE:
                self.check(machine)
        self.heal()

    def step(self, machine: Machine) -> None:
        self.clock.now_s += self.random.choice([0.0, 0.5, 4.0])
        if machine.paused:
            machine.paused -= 1
            return
        if self.viewed is not None and self.viewed.random.random() < 0.45:
            self.viewed.step(machine, self.viewed.random.random())
            return
        dice = self.random.random()
        if dice < 0.40:
            self.advance(machine)
        elif dice < 0.60:
            self.guarded(machine, self.change, machine)
        elif dice < 0.87:
            self.tick(machine)
        else:
            self.event(machine, (dice - 0.87) / 0.13)

    def event(self, machine: Machine, dice: float) -> None:
        assert machine.node is not None
        engine = machine.node.engine
        if dice < 0.12:
            machine.store.partition = not machine.store.partition
            self.log(f"{machine.name} partition {machine.store.partition}")
        elif dice < 0.22:
            machine.paused = self.random.randrange(30)
        elif dice < 0.36:
            self.network.deliver()
        elif dice < 0.44:
            self.log(f"{machine.name} crash")
            self._restart(machine)
        elif dice < 0.48:
            self.clone(machine)
        elif dice < 0.55:
            self.back_up_or_restore(machine)
        elif dice < 0.60 and self.viewed is not None and self.viewed.exact:
            self.clock.now_s += 60.0
        elif dice < 0.60:
            machine.clock.skew_ns += self.random.randrange(-6 * _HOUR_NS, 6 * _HOUR_NS)
            self.log(f"{machine.name} clock jumps to {machine.clock.skew_ns / _HOUR_NS:+.1f} h")
        elif dice < 0.66:
            self.guarded(machine, lambda: engine.evict(cache_bytes=0))
        elif dice < 0.75:
            self.guarded(machine, engine.snapshot)
        else:
            self.collect(machine)

    def collect(self, machine: Machine) -> None:
        collections = self.collections
        if collections is None:
            collected = collect_bare(self.network.store, self.machines, bases=self.random.random() < 0.8)
            self.log(f"collected {collected}")
        elif self.random.random() < 0.15:
            self.guarded(machine, lambda: self.log(collections.pin(machine)))
        else:
            self.log(collections.step(machine))

    def advance(self, machine: Machine) -> None:
        """A program of this machine goes on, or another one begins."""
        programs = machine.programs
        if len(programs) < PROGRAMS_MAX and (not programs or self.random.random() < 0.3):
            program = Program(machine, self.oracle, self.random, "")
            programs.append(program)
            if not self.guarded(machine, self._begin, machine, program):
                if program in machine.programs:
                    machine.end(program)
                return
        else:
            program = self.random.choice(programs)
        self.go_on(machine, program)

    def _begin(self, machine: Machine, program: Program) -> None:
        program.path = Changes(machine, self.oracle, self.names).file()
        program.start(locks=self.locks)

    def go_on(self, machine: Machine, program: Program) -> None:
        self.log(f"{machine.name} {program.deed.number}: {program.deed.what}")

        def step() -> None:
            if next(program.steps, self) is self:
                machine.end(program)

        if not self.guarded(machine, step) and program in machine.programs:
            machine.end(program)

    def change(self, machine: Machine) -> None:
        changes = Changes(machine, self.oracle, self.names)
        self.log(f"{machine.name} {changes.do()}")

    def tick(self, machine: Machine) -> None:
        machine.clock.now_s += self.random.choice([0.0, 0.3, 1.0, 5.0])
        assert machine.node is not None
        before = machine.head
        self.guarded(machine, machine.node.engine.tick)
        after = machine.head
        if after != before:
            self.log(f"{machine.name} head {before} -> {after}")

    # ---- copies of machines ----

    def clone(self, machine: Machine) -> None:
        """As a sandbox is forked: both have the same replica, with all that is pending, prepared and open."""
        if len(self.machines) >= MACHINES_MAX:
            return
        name = f"{machine.name}+{len(self.machines)}"
        self.log(f"{machine.name} cloned as {name}")
        machine.copy_to(self.directory / name)
        self._add(name)

    def back_up_or_restore(self, machine: Machine) -> None:
        """A machine goes back to an older state of its disk. What it acknowledged since may be lost, unless it was
        remote before."""
        if machine.backup is None or self.random.random() < 0.4:
            self.copies += 1
            self.log(f"{machine.name} backed up")
            machine.back_up(self.directory / f"backup{self.copies}")
            return
        assert machine.node is not None
        engine, deadline = machine.node.engine, machine.clock.monotonic() + 3
        remote = self.random.random() < 0.6 and self.guarded(machine, engine.push_until_clean, deadline)
        self.log(f"{machine.name} restored, {'all' if remote else 'not all'} was remote")
        machine.crash()
        if not remote:
            self.oracle.lost_with_machine(self.oracle.deed(f"{machine.name} lost"), machine.kept)
        machine.restore()
        self._start(machine)

    # ---- the end ----

    def check(self, machine: Machine) -> None:
        assert machine.node is not None
        changes = machine.node.replica.connection.total_changes()
        if changes == machine.checked:
            return
        machine.checked = changes
        problems = broken(machine.node.replica)
        if problems:
            raise Broken(f"{machine.name}: {problems}")
        if machine.node.engine._state.broken:  # `status` reads much that nobody asks for here
            raise Broken(f"{machine.name}: {machine.node.engine.status().last_error}")

    def heal(self) -> None:
        self.calm = True
        self.network.fault_chance = 0.0
        self.log("heal")
        for machine in self.machines:
            machine.store.partition = False
            machine.paused = 0
        while running := [it for it in self.machines if it.programs]:
            machine = self.random.choice(running)
            if self.random.random() < 0.8:
                self.go_on(machine, self.random.choice(machine.programs))
            else:
                self.tick(machine)
            self.check(machine)
        while self.network.late and self.random.random() < 0.8:
            self.network.deliver()
        self.network.late.clear()
        while self.collections is not None and self.collections.running and self.random.random() < 0.9:
            self.log(self.collections.step(self.random.choice(self.machines)))
        self._sync_all()
        if self.viewed is not None:
            self.viewed.settle()
            self._sync_all()
        self.judge()

    def _sync_all(self) -> None:
        for _ in range(30):
            for machine in self.machines:
                assert machine.node is not None
                if machine.holds_locks():  # a program ended without giving one back: its engine does it
                    self.tick(machine)
                if not self.guarded(machine, machine.node.sync):
                    self.guarded(machine, machine.node.engine.pull_now)  # before it can push, behind a collection
                self.check(machine)
            states = [machine.node.engine.status() for machine in self.machines if machine.node is not None]
            if len({it.head_digest for it in states}) == 1 and not any(
                it.pending_inodes or it.pending_names for it in states
            ):
                return
        raise Broken(f"no quiescence: {[(it.head_sequence, it.pending_inodes, it.pending_names) for it in states]}")

    def judge(self) -> None:
        newcomer = self._add("newcomer")
        assert newcomer.node is not None
        newcomer.node.engine.pull_now()
        shown = {machine.name: machine.node.show() for machine in self.machines if machine.node is not None}
        (name, first), *others = shown.items()
        for other, view in others:
            if view != first:
                different = {path for path in first.keys() | view.keys() if first.get(path) != view.get(path)}
                raise Broken(
                    f"{name} and {other} differ: "
                    f"{[(it, _short(first.get(it)), _short(view.get(it))) for it in sorted(different)[:5]]}"
                )
        for path, (_, _, data) in first.items():
            self.oracle.judge_content(data, kind_of(path.decode()), f"in the end, {path.decode()}")
        locked = tokens(first.get(LOCKED.encode(), ("", 0, b""))[2])
        if not self.oracle.sections <= locked:
            raise Broken(f"written under the lock and not there: {self.oracle.sections - locked}")
        present = {token for _, _, data in first.values() for token in tokens(data)}
        if self.viewed is not None:
            self.viewed.judge({path: data for path, (kind, _, data) in first.items() if kind == "FILE"})
            present |= self.viewed.kept_outside()
        self.oracle.judge_lost(present)
        for machine in self.machines:
            machine.checked = -1
            self.check(machine)
        self._fsck()
        if self.collections is not None:
            self.collections.judge(self.network.store)

    def _fsck(self) -> None:
        assert self.machines[0].node is not None
        head = self.machines[0].head
        state = StoreCheck(self.network.store, "space", "sim", deep=True, keep_at=head).run()
        for machine in self.machines:
            machine.let_others_read()
            findings = Findings()
            replica = read_replica(str(machine.directory), findings, deep=True)
            assert replica is not None
            compare(replica, state, str(machine.directory))
            state.findings.found += findings.found
        found = [it for it in state.findings.found if it.kind not in _DECLARED]
        if found:
            raise Broken(f"fsck: {[(it.kind, it.place, it.detail) for it in found[:5]]}")

    def close(self) -> None:
        for machine in self.machines:
            if machine.keeping is not None:
                machine.keeping.drop()
            if machine.node is not None:
                machine.node.close()


def _short(view: tuple[str, int, bytes] | None) -> object:
    return None if view is None else (view[0], oct(view[1]), view[2][:200])
