"""One machine of the simulation: a node on a bad network, a clock of its own, and the programs that run on it."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults import FaultyStore
from keeping import Keeping
from node import Node, TestClock
from oracle import Deed, Oracle
from programs import Program

from agentfs.errors import AgentFSError, NotFound
from agentfs.model.records import Kind
from agentfs.replica.transaction import RESIDENCY_LOCAL
from agentfs.sync.options import EngineOptions


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Machine:
    name: str
    directory: Path
    store: FaultyStore
    clock: TestClock
    random: Random
    oracle: Oracle
    fresh: Callable[[], bytes]
    """A token that nobody has."""
    contents: Callable[[bytes], bytes]
    """The bytes of a digest that was committed."""
    failpoint: Callable[[str], None]
    look_s: float = 0.0
    """It keeps the view, and looks at the bucket so often; 0: there is none."""
    node: Node | None = None
    keeping: Keeping | None = None
    programs: list[Program] = field(default_factory=list)
    paused: int = 0
    gone: set[int] = field(default_factory=set)
    """Files whose last name a program of this machine took away."""
    kept: set[bytes] = field(default_factory=set)
    """Tokens that were acknowledged here since the backup."""
    backup: Path | None = None
    checked: int = -1

    # ---- its life ----

    @property
    def head(self) -> int:
        assert self.node is not None
        return int(self.node.replica.state("head_sequence"))

    def start(self) -> None:
        """Raises `Crash` when the engine is killed while it begins; then start again."""
        database = self.directory / "replica.db"
        is_new = not database.exists()
        if not is_new:  # the process that had it is gone, though this one has its number
            connection = sqlite3.connect(database)
            connection.execute("UPDATE session SET started='gone'")
            connection.commit()
            connection.close()
        small = self.random.random() < 0.3
        keeping = Keeping() if self.look_s else None
        self.checked = -1
        self.node = Node(
            self.directory,
            self.store,
            self.clock,
            agent=self.name.split("+")[0],
            entropy=self.random.randbytes,
            options=EngineOptions(
                parallel=1, poll_idle_max_s=4, snapshot_every=self.random.choice([3, 6, 50]),
                cache_bytes=200 if small else 1 << 30, open_long_s=self.random.choice([0.5, 5.0]),
            ),
            failpoint=self.failpoint,
            observers=() if keeping is None else (keeping.observe,),
        )  # fmt: skip
        self.node.replica.connection.execute("PRAGMA synchronous=OFF")
        if keeping is None:  # who keeps the view reads with a connection of its own
            self.node.replica.connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # saves a tenth of a run
        if is_new:  # else each run of a seed, by each user, would be another
            self.node.replica.set_state("replica_id", hashlib.sha256(self.name.encode()).hexdigest()[:32])
            self.node.replica.connection.execute("UPDATE inode SET uid=0, gid=0 WHERE ino=1")
        self.keeping = keeping
        if keeping is not None:
            keeping.begin(self.node, self.directory, author=self.name.split("+")[0], look_s=self.look_s)

    def holds_locks(self) -> bool:
        assert self.node is not None
        return self.node.replica.connection.one("SELECT 1 FROM lease LIMIT 1") is not None

    def let_others_read(self) -> None:
        """From now on other connections may read its database."""
        assert self.node is not None
        self.node.replica.connection.execute("PRAGMA locking_mode=NORMAL")
        self.node.replica.state("head_sequence")  # takes effect with the next read

    def crash(self) -> None:
        """Nothing is closed properly; what was acknowledged is in the files."""
        node = self.node
        assert node is not None
        for program in self.programs:
            for handle in program.handles:
                if handle.fd >= 0:
                    os.close(handle.fd)
        self.programs.clear()
        if self.keeping is not None:
            self.keeping.drop()
        node.replica.connection.close()
        self.node = None

    def end(self, program: Program) -> None:
        """A program ends, well or with an error: the kernel closes what it had open."""
        self.programs.remove(program)
        assert self.node is not None
        for handle in program.handles:
            with contextlib.suppress(AgentFSError):
                self.node.tree.release(handle)

    # ---- a copy of the machine's disk ----

    def copy_to(self, directory: Path) -> None:
        """The disk as it is now."""
        self.oracle.copied_amid([program.deed for program in self.programs])
        _copy(self.directory, directory)

    def back_up(self, directory: Path) -> None:
        if self.backup is not None:
            shutil.rmtree(self.backup)
        self.copy_to(directory)
        self.backup = directory
        self.kept = set()

    def restore(self) -> None:
        """The disk is lost; the backup takes its place."""
        assert self.backup is not None
        shutil.rmtree(self.directory)
        _copy(self.backup, self.directory)
        self.kept = set()

    # ---- what it shows ----

    def shown_bytes(self, ino: int) -> bytes:
        """As a reader would see it, also while the network is away."""
        assert self.node is not None
        row = self.node.replica.inode(ino)
        if row is None:
            raise NotFound(f"inode {ino}")
        if row.residency == RESIDENCY_LOCAL:
            with contextlib.suppress(FileNotFoundError):
                return Path(self.node.replica.files.path(ino)).read_bytes()
        with self.node.replica.lock:
            known = self.node.replica.connection.one("SELECT digest FROM content WHERE ino=?", (ino,))
        return b"" if known is None else self.contents(known[0])

    def shown_file(self, path: str) -> tuple[int, bytes] | None:
        """Its inode and bytes; None when nothing, or no file, is there."""
        assert self.node is not None
        try:
            ino = self.node.at(path)
        except AgentFSError:
            return None
        return (ino, self.shown_bytes(ino)) if self.node.tree.attributes(ino).kind is Kind.FILE else None

    def unlinked(self, ino: int) -> None:
        """A program of this machine took a name of `ino` away."""
        assert self.node is not None
        row = self.node.replica.inode(ino)
        if row is None or row.nlink == 0:
            self.gone.add(ino)

    def rename(self, deed: Deed, old: str, new: str, flags: int = 0, *, read: bytes | None = None) -> None:
        assert self.node is not None
        source, target = self.shown_file(old), self.shown_file(new)
        self.node.rename(old, new, flags, reader=deed.process)
        if target is not None and not flags:
            self.oracle.destroyed(deed, target[1], source[1] if source is not None else b"", read=read)
            self.unlinked(target[0])


def _copy(source: Path, target: Path) -> None:
    """Also the times of the files, as `file_times` has them: by name, as `copy2` itself asks the kernel."""
    shutil.copytree(source, target, copy_function=_copy_file)


def _copy_file(source: str, target: str) -> None:
    shutil.copy2(source, target)
