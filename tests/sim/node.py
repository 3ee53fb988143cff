"""One machine of the tests: a replica, a tree and an engine, with path-based operations."""

import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from agentfs.errors import NotFound, NotResident
from agentfs.model.records import Kind
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Store
from agentfs.sync.engine import Engine
from agentfs.sync.ground import Observer
from agentfs.sync.options import EngineOptions
from agentfs.tree.options import TreeOptions
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Caller

ROOT = 1
CALLER = Caller(uid=0, gid=0)
Shown = dict[bytes, tuple[str, int, bytes]]


class TestClock:
    """A clock that only moves when somebody waits."""

    __test__ = False

    def __init__(self, wall_ns: int = 1_800_000_000_000_000_000) -> None:
        self.now_s = 0.0
        self.skew_ns = 0
        self._wall_ns = wall_ns

    def wall_ns(self) -> int:
        return self._wall_ns + int(self.now_s * 1e9) + self.skew_ns

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now_s += max(0.0, seconds)
        return event.is_set()


class Node:
    """Use `close`, or drop it to crash."""

    def __init__(
        self,
        directory: Path,
        store: Store,
        clock: TestClock,
        *,
        agent: str = "agent",
        entropy: Callable[[int], bytes] = os.urandom,
        options: EngineOptions | None = None,
        failpoint: Callable[[str], None] | None = None,
        mountpoint: Callable[[], str | None] | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.replica = Replica.open(
            str(directory), volume_kind="space", volume_id="sim", session_kind="engine", clock=clock
        )
        self.engine = Engine(
            self.replica,
            store,
            volume_kind="space",
            volume_id="sim",
            author=agent,
            clock=clock,
            entropy=entropy,
            options=options or EngineOptions(parallel=1, poll_idle_max_s=4),
            failpoint=failpoint or (lambda _name: None),
            mountpoint=mountpoint,
            observers=observers,
        )
        self.tree = Tree(self.replica, hydrator=self.engine, options=TreeOptions(agent=agent))

    def close(self) -> None:
        self.tree.close()
        self.engine.close()
        self.replica.close()

    # ---- paths ----

    def at(self, path: str) -> int:
        ino = ROOT
        for part in path.split("/"):
            if part:
                ino = self.tree.lookup(ino, part.encode()).ino
        return ino

    def _split(self, path: str) -> tuple[int, bytes]:
        parent, _, name = path.rpartition("/")
        return self.at(parent), name.encode()

    def write(self, path: str, data: bytes) -> None:
        """Whole file, in place."""
        handle = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.tree.write(handle, 0, data)
        self.tree.flush(handle)
        self.tree.release(handle)

    def append(self, path: str, data: bytes) -> None:
        handle = self.open(path, os.O_WRONLY | os.O_APPEND)
        self.tree.write(handle, 0, data)
        self.tree.flush(handle)
        self.tree.release(handle)

    def open(self, path: str, flags: int, *, reader: int = 0):
        """`reader`: the process that asks (`tree.seen`)."""
        parent, name = self._split(path)
        try:
            ino = self.tree.lookup(parent, name).ino
        except NotFound:
            if not flags & os.O_CREAT:
                raise
            return self.tree.create(parent, name, 0o644, CALLER, flags, reader=reader)[1]
        try:
            return self.tree.open(ino, flags, reader=reader)
        except NotResident:
            self.tree.hydrate(ino)
            return self.tree.open(ino, flags, reader=reader)

    def read(self, path: str, *, reader: int = 0) -> bytes:
        handle = self.open(path, os.O_RDONLY, reader=reader)
        try:
            return self.tree.read(handle, 0, 1 << 26)
        finally:
            self.tree.release(handle)

    def mkdir(self, path: str) -> None:
        parent, name = self._split(path)
        self.tree.mkdir(parent, name, 0o755, CALLER)

    def symlink(self, path: str, target: bytes) -> None:
        parent, name = self._split(path)
        self.tree.symlink(parent, name, target, CALLER)

    def link(self, old: str, new: str) -> None:
        parent, name = self._split(new)
        self.tree.link(self.at(old), parent, name)

    def rename(self, old: str, new: str, flags: int = 0, *, reader: int = 0) -> None:
        self.tree.rename(*self._split(old), *self._split(new), flags, reader=reader)

    def unlink(self, path: str) -> None:
        self.tree.unlink(*self._split(path))

    def rmdir(self, path: str) -> None:
        self.tree.rmdir(*self._split(path))

    def chmod(self, path: str, mode: int) -> None:
        self.tree.set_attributes(self.at(path), AttributeChange(mode=mode))

    def names(self, path: str = "") -> list[str]:
        return [name for name, _, _ in self._children(self.at(path))]

    def _children(self, ino: int) -> list[tuple[str, int, Kind]]:
        number = self.tree.open_directory(ino)
        try:
            entries = self.tree.read_directory(number, 0, 1_000_000)
        finally:
            self.tree.release_directory(number)
        return [(os.fsdecode(it.name), it.ino, it.kind) for it in entries if it.name not in (b".", b"..")]

    def show(self) -> Shown:
        """The whole tree: path → kind, mode, bytes."""
        found: Shown = {}
        work = [(ROOT, "")]
        while work:
            directory, prefix = work.pop()
            for name, ino, kind in self._children(directory):
                path = f"{prefix}{name}"
                mode = stat.S_IMODE(self.tree.attributes(ino).mode)
                data = b""
                if kind is Kind.FILE:
                    data = self.read(path)
                elif kind is Kind.SYMLINK:
                    data = self.tree.readlink(ino)
                elif kind is Kind.DIRECTORY:
                    work.append((ino, path + "/"))
                found[os.fsencode(path)] = (kind.name, mode, data)
        return found

    # ---- the engine ----

    def sync(self) -> None:
        """Push all, then pull all."""
        self.engine.push_until_clean(self.clock.monotonic() + 60)
        self.engine.pull_now()

    def settle(self, seconds: float = 3.0) -> None:
        """Let the engine run for a while of its own time."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            wait = self.engine.tick()
            self.clock.now_s += max(wait, 0.01)
