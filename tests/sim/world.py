"""The simulation: machines that change files, sync over a bad store, crash, get cloned and pause. One thread, one
seed.

Every write carries a new token. A token may vanish only because somebody who saw it deleted or replaced it.
"""

import os
import re
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults import FaultyStore, Network
from invariants import broken
from node import Node, TestClock

from agentfs.errors import AgentFSError, NotResident, Unavailable
from agentfs.log.log import Log
from agentfs.stores.memory import MemoryStore
from agentfs.sync.options import EngineOptions

TOKEN = re.compile(rb"<[0-9]+>")
NAMES = ["a", "b", "c", "d.md", "e.txt"]
MACHINES_MAX = 5


class Crash(BaseException):
    """The process is gone."""


class Violation(AssertionError):
    pass


@dataclass
class Machine:
    name: str
    directory: Path
    store: FaultyStore
    clock: TestClock
    node: Node | None = None
    handles: list[tuple[object, bytes]] = field(default_factory=list)
    paused: int = 0


class World:
    def __init__(self, seed: int, directory: Path, *, verbose: bool = False) -> None:
        self.random = Random(seed)
        self.directory = directory
        self.verbose = verbose
        self.network = Network(MemoryStore(), self.random, fault_chance=self.random.choice([0.0, 0.05, 0.2]))
        self.crash_chance = self.random.choice([0.0, 0.0, 0.03])
        self.acknowledged: dict[bytes, str] = {}
        self.excused: set[bytes] = set()
        self.token = 0
        self.machines: list[Machine] = []
        self.calm = False
        self.history: list[str] = []
        for number in range(self.random.choice([2, 2, 3, 4])):
            self._add(f"m{number}", directory / f"m{number}")

    # ---- machines ----

    def _add(self, name: str, directory: Path) -> Machine:
        clock = TestClock()
        clock.skew_ns = self.random.randrange(-(10**12), 10**12)
        machine = Machine(name, directory, FaultyStore(self.network), clock)
        self.machines.append(machine)
        self._start(machine)
        return machine

    def _start(self, machine: Machine) -> None:
        database = machine.directory / "replica.db"
        if database.exists():  # the process that had it is gone, though this one has its number
            connection = sqlite3.connect(database)
            connection.execute("UPDATE session SET started='gone'")
            connection.commit()
            connection.close()
        small = self.random.random() < 0.3
        machine.node = Node(
            machine.directory,
            machine.store,
            machine.clock,
            agent=machine.name.split("+")[0],
            entropy=self.random.randbytes,
            options=EngineOptions(
                parallel=1, poll_idle_max_s=4, snapshot_every=self.random.choice([5, 50]),
                cache_bytes=200 if small else 1 << 30,
            ),
            failpoint=self._failpoint,
        )  # fmt: skip
        self._guarded(machine, machine.node.engine.bootstrap)

    def _failpoint(self, name: str) -> None:
        if not self.calm and self.random.random() < self.crash_chance:
            self.log(f"  crash at {name}")
            raise Crash(name)

    def _crash(self, machine: Machine) -> None:
        node = machine.node
        assert node is not None
        for handle, _ in machine.handles:
            os.close(handle.fd)
        machine.handles.clear()
        node.replica.connection.close()
        machine.node = None

    def _guarded(self, machine: Machine, do, *arguments):
        try:
            return do(*arguments)
        except Crash:
            self._crash(machine)
            self._start(machine)
        except AgentFSError as error:
            self.log(f"  {type(error).__name__}: {error}")
        return None

    def log(self, line: str) -> None:
        self.history.append(line)
        if self.verbose:
            print(line, flush=True)

    # ---- the run ----

    def run(self, steps: int) -> None:
        for _ in range(steps):
            machine = self.random.choice(self.machines)
            self.step(machine)
            self.check(machine)
        self.heal()

    def step(self, machine: Machine) -> None:
        if machine.paused:
            machine.paused -= 1
            return
        dice = self.random.random()
        if dice < 0.55:
            self._guarded(machine, self.change, machine)
        elif dice < 0.88:
            self.tick(machine)
        elif dice < 0.90:
            machine.store.partition = not machine.store.partition
            self.log(f"{machine.name} partition {machine.store.partition}")
        elif dice < 0.92:
            machine.paused = self.random.randrange(20)
        elif dice < 0.95:
            self.network.deliver()
        elif dice < 0.96:
            self.log(f"{machine.name} crash")
            self._crash(machine)
            self._start(machine)
        elif dice < 0.965 and len(self.machines) < MACHINES_MAX:
            self.clone(machine)
        elif dice < 0.975:
            self._guarded(machine, lambda: machine.node.engine.evict(cache_bytes=0))
        elif dice < 0.985:
            self._guarded(machine, machine.node.engine.snapshot)
        elif dice < 0.995:
            self.collect()

    def tick(self, machine: Machine) -> None:
        machine.clock.now_s += self.random.choice([0.0, 0.3, 1.0, 5.0])
        before = machine.node.engine.status().head_sequence
        self._guarded(machine, machine.node.engine.tick)
        after = machine.node.engine.status().head_sequence
        if after != before:
            self.log(f"{machine.name} head {before} -> {after}")

    def clone(self, machine: Machine) -> None:
        name = f"{machine.name}+{len(self.machines)}"
        self.log(f"{machine.name} cloned as {name}")
        directory = self.directory / name
        shutil.copytree(machine.directory, directory)
        self._add(name, directory)

    def collect(self) -> None:
        """What a collector does after its grace: stubs for entries before the newest snapshot whose contents nobody
        needs any more."""
        log = Log(self.network.store, "space", "sim")
        snapshot = log.newest_snapshot().snapshot
        if snapshot is None:
            return
        needed = {row[14] for row in snapshot.inodes}
        for machine in self.machines:
            needed |= {row[0] for row in machine.node.replica.connection.rows("SELECT sequence FROM content")}
        collected = [at for at in range(1, snapshot.sequence + 1) if at not in needed]
        for sequence in collected:
            log.collect(sequence, snapshot=snapshot.sequence)
        self.log(f"collected {collected}")

    def check(self, machine: Machine) -> None:
        problems = broken(machine.node.replica)
        if problems:
            raise Violation(f"{machine.name}: {problems}")
        if machine.node.engine.status().broken:
            raise Violation(f"{machine.name}: {machine.node.engine.status().last_error}")

    # ---- changes ----

    def paths(self, node: Node) -> tuple[list[str], list[str]]:
        """Files and directories."""
        files, directories, work = [], [""], [(1, "")]
        while work:
            ino, prefix = work.pop()
            for name, child, kind in node._children(ino):
                if kind == 2:
                    directories.append(prefix + name)
                    work.append((child, f"{prefix}{name}/"))
                else:
                    files.append(prefix + name)
        return sorted(files), sorted(directories)

    def new_path(self, directories: list[str]) -> str:
        directory = self.random.choice(directories)
        name = self.random.choice(NAMES)
        return f"{directory}/{name}" if directory else name

    def seen(self, node: Node, path: str) -> set[bytes]:
        if node.tree.attributes(node.at(path)).kind != 1:
            return set()
        return set(TOKEN.findall(node.read(path)))

    def seen_if_any(self, node: Node, path: str) -> set[bytes]:
        try:
            return self.seen(node, path)
        except Unavailable:
            raise
        except AgentFSError:
            return set()

    def fresh(self) -> bytes:
        self.token += 1
        return b"<%d>" % self.token

    def change(self, machine: Machine) -> None:
        node = machine.node
        files, directories = self.paths(node)
        kinds = ["write", "write", "write", "append", "mkdir", "rename", "rename", "unlink", "save", "rmtree",
                 "chmod", "link", "open", "finish", "same", "move_directory", "symlink", "big"]  # fmt: skip
        kind = self.random.choice(kinds)
        getattr(self, f"do_{kind}")(machine, files, directories)

    def do_write(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        path = self.random.choice(files) if files and self.random.random() < 0.5 else self.new_path(directories)
        lost = self.seen_if_any(machine.node, path)
        token = self.fresh()
        self.log(f"{machine.name} write {path} {token!r} (over {lost})")
        machine.node.write(path, token)
        self.excused |= lost
        self.acknowledged[token] = machine.name

    def do_same(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        """What several machines write alike."""
        path = self.new_path(directories)
        lost = self.seen_if_any(machine.node, path)
        self.log(f"{machine.name} same {path}")
        machine.node.write(path, b"the same everywhere")
        self.excused |= lost

    def do_big(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        path = self.new_path(directories)
        lost = self.seen_if_any(machine.node, path)
        token = self.fresh()
        self.log(f"{machine.name} big {path} {token!r}")
        machine.node.write(path, token + bytes(140_000))
        self.excused |= lost
        self.acknowledged[token] = machine.name

    def do_append(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        if files:
            path, token = self.random.choice(files), self.fresh()
            self.log(f"{machine.name} append {path} {token!r}")
            machine.node.append(path, token)
            self.acknowledged[token] = machine.name

    def do_save(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        """As editors do: a new file, renamed over the old."""
        if files:
            path, token = self.random.choice(files), self.fresh()
            lost = self.seen_if_any(machine.node, path + ".tmp")
            self.log(f"{machine.name} save {path} {token!r} (over {lost})")
            machine.node.write(path + ".tmp", token)
            self.excused |= lost
            self.acknowledged[token] = machine.name
            if self.random.random() < 0.3:
                self.tick(machine)
            node = machine.node
            lost = self.seen_if_any(node, path)
            node.rename(path + ".tmp", path)
            self.excused |= lost

    def do_mkdir(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        path = self.new_path(directories)
        self.log(f"{machine.name} mkdir {path}")
        machine.node.mkdir(path)

    def do_rename(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        if files:
            old, new = self.random.choice(files), self.new_path(directories)
            lost = self.seen_if_any(machine.node, new)
            if old != new:
                self.log(f"{machine.name} rename {old} {new} (over {lost})")
                machine.node.rename(old, new)
                self.excused |= lost

    def do_move_directory(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        old, new = self.random.choice(directories), self.new_path(directories)
        if old and old != new:
            self.log(f"{machine.name} move {old}/ {new}/")
            machine.node.rename(old, new)

    def do_unlink(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        if files:
            path = self.random.choice(files)
            lost = self.seen_if_any(machine.node, path)
            self.log(f"{machine.name} unlink {path} {lost}")
            machine.node.unlink(path)
            self.excused |= lost

    def do_rmtree(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        top = self.random.choice(directories)
        if not top or self.random.random() < 0.5:
            return
        node = machine.node
        lost = {it for path in files if path.startswith(top + "/") for it in self.seen_if_any(node, path)}
        self.log(f"{machine.name} rmtree {top} {lost}")
        self.excused |= lost
        for path in files:
            if path.startswith(top + "/"):
                node.unlink(path)
        for path in sorted((it for it in directories if (it + "/").startswith(top + "/")), reverse=True):
            node.rmdir(path)

    def do_chmod(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        if files:
            path = self.random.choice(files + directories[1:])
            self.log(f"{machine.name} chmod {path}")
            machine.node.chmod(path, self.random.choice([0o600, 0o644, 0o700, 0o755]))

    def do_link(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        if files:
            old, new = self.random.choice(files), self.new_path(directories)
            self.log(f"{machine.name} link {old} {new}")
            machine.node.link(old, new)

    def do_symlink(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        path = self.new_path(directories)
        self.log(f"{machine.name} symlink {path}")
        machine.node.symlink(path, self.random.choice([b"a", b"/tmp"]))

    def do_open(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        if files and len(machine.handles) < 3:
            path, token = self.random.choice(files), self.fresh()
            self.log(f"{machine.name} open {path} for {token!r}")
            handle = machine.node.open(path, os.O_WRONLY | os.O_APPEND)
            if self.random.random() < 0.5:
                machine.node.tree.write(handle, 0, token)
                if self.random.random() < 0.5:
                    machine.node.tree.flush(handle)
                    self.acknowledged[token] = machine.name
            machine.handles.append((handle, token))

    def do_finish(self, machine: Machine, files: list[str], directories: list[str]) -> None:
        if machine.handles:
            handle, token = machine.handles.pop(self.random.randrange(len(machine.handles)))
            tree = machine.node.tree
            data = self.bytes_of(handle)
            if token not in data and self.random.random() < 0.7:
                try:
                    tree.write(handle, 0, token)
                except NotResident:
                    tree.hydrate(handle.ino)
                    tree.write(handle, 0, token)
                data = self.bytes_of(handle)
            tree.flush(handle)
            tree.release(handle)
            self.log(f"{machine.name} finish {token!r} in {set(TOKEN.findall(data))}")
            unlinked = machine.node.replica.inode(handle.ino)
            if token in data and unlinked is not None and unlinked.nlink:
                self.acknowledged[token] = machine.name

    def bytes_of(self, handle) -> bytes:
        with open(f"/proc/self/fd/{handle.fd}", "rb") as file:
            return file.read()

    # ---- the end ----

    def heal(self) -> None:
        self.calm = True
        self.network.fault_chance = 0.0
        self.log("heal")
        for machine in self.machines:
            machine.store.partition = False
            while machine.handles:
                self.do_finish(machine, [], [])
            self.check(machine)
        while self.network.late and self.random.random() < 0.8:
            self.network.deliver()
        self.network.late.clear()
        for _ in range(30):
            for machine in self.machines:
                machine.node.sync()
                self.check(machine)
            states = [machine.node.engine.status() for machine in self.machines]
            if len({it.head_digest for it in states}) == 1 and not any(
                it.pending_inodes or it.pending_names for it in states
            ):
                break
        else:
            raise Violation(
                f"no quiescence: {[(it.head_sequence, it.pending_inodes, it.pending_names) for it in states]}"
            )
        self.compare()

    def compare(self) -> None:
        newcomer = self._add("newcomer", self.directory / "newcomer")
        newcomer.node.engine.pull_now()
        views = [(machine.name, machine.node.show()) for machine in self.machines]
        name, first = views[0]
        for other, view in views[1:]:
            if view != first:
                different = {path for path in first.keys() | view.keys() if first.get(path) != view.get(path)}
                raise Violation(
                    f"{name} and {other} differ: "
                    f"{[(it, short(first.get(it)), short(view.get(it))) for it in sorted(different)[:5]]}"
                )
        present = {token for _, _, data in first.values() for token in TOKEN.findall(data)}
        lost = self.acknowledged.keys() - present - self.excused
        if lost:
            raise Violation(f"lost: {[(token, self.acknowledged[token]) for token in lost]}")
        for machine in self.machines:
            self.check(machine)

    def close(self) -> None:
        for machine in self.machines:
            if machine.node is not None:
                machine.node.close()


def short(view: tuple[str, int, bytes] | None) -> object:
    return None if view is None else (view[0], oct(view[1]), view[2][:40])
