"""What all operations of a tree stand on: the replica, and what this process has open.

Nothing of the tree is cached here: another process may have changed it. In memory are only the open inodes, and the
last attributes of inodes that are gone while the kernel may still ask for them.

**Lock order:** `OpenInode.lock`, then `Replica.lock`. The dictionaries are guarded by `Replica.lock`.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, NotADirectory, NotFound
from agentfs.model.records import Kind
from agentfs.replica.database import Row, translated
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import KINDS, Place, Transaction
from agentfs.tree.options import TreeOptions
from agentfs.tree.seen import Seen
from agentfs.tree.values import Attributes, Handle

COLUMNS = (
    "ino, kind, mode, nlink, uid, gid, rdev, CASE WHEN kind=3 THEN length(target) ELSE size_bytes END, "
    "(size_bytes+511)/512, atime_ns, mtime_ns, ctime_ns, birth_ns, change"
)
"""Of `inode`, in the order of `Attributes`."""
COLUMN_COUNT = 14
_ATTRIBUTES = f"SELECT {COLUMNS} FROM inode WHERE ino=?"
_GHOSTS_MAX = 4096
SPARSE_BYTES_MIN = 1 << 20
"""Files from this size on are asked how many blocks they really use (a `stat` of the backing file, 2 µs)."""

Stamp = tuple[int, int, int]


def stamp(info: os.stat_result) -> Stamp:
    """What changes whenever a backing file is written."""
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns


@dataclass(slots=True, eq=False)
class OpenInode:
    """A file that this process has open. `lock` is held while its bytes are written and while what was written is
    committed, so that nothing falls between the two."""

    ino: int
    last: Attributes
    """As of the open: what `fstat` shows should another process purge the inode."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    handles: dict[int, Handle] = field(default_factory=dict)
    pinned: dict[int, Handle] = field(default_factory=dict)
    """Handles that may write: the inode is marked maybe dirty, and its backing file is not replaced meanwhile."""
    dirty: bool = False
    """Written by this process since the last commit of size and times."""
    mtime_ns: int = 0
    """What to show and to commit while dirty."""
    ctime_ns: int = 0
    baseline: Stamp = (-1, -1, -1)
    """The backing file as of the last commit, to find writes that bypassed us."""
    baseline_racy: bool = False
    """The baseline was taken so shortly after a change that a later one could bear the same stamp."""
    unlinked: bool = False
    name_synced: bool = False
    """The directory entry of the backing file survives a power cut."""

    def times(self, info: os.stat_result) -> tuple[int, int]:
        """Time of modification and of change to show and to commit for bytes that were written; `info` is the backing
        file's. Where writes may bypass us and the backing file moved on, it knows the last of them."""
        bypassed = stamp(info) != self.baseline and any(handle.direct for handle in self.pinned.values())
        if self.dirty and not bypassed:
            return self.mtime_ns, self.ctime_ns
        return info.st_mtime_ns, info.st_ctime_ns


class Ground:
    def __init__(self, replica: Replica, *, session: int, clock: Clock, options: TreeOptions) -> None:
        self.replica = replica
        self.session = session
        self.clock = clock
        self.options = options
        self.lock = replica.lock
        self.files = replica.files
        self.execute: Callable[..., Iterable[Row]] = replica.connection.execute
        self.one = replica.connection.one
        self.numbers = itertools.count(1)
        self.opened: dict[int, OpenInode] = {}
        self.seen = Seen()
        self.unsettled: set[int] = set()
        """Inodes whose last commit failed at release: their mark stands and their bytes are still to be taken in."""
        self._ghosts: dict[int, Attributes] = {}
        self._translated = translated(replica.connection.path)

    def transaction(self, *, durable: bool = False) -> Transaction:
        return Transaction(self.replica.door, session=self.session, durable=durable)

    def select(self, sql: str, bindings: Row) -> Row | None:
        """The first row, outside a transaction."""
        with self.lock, self._translated:
            return self.one(sql, bindings)

    # ---- attributes ----

    def attributes(self, ino: int) -> Attributes:
        """What `stat` shows. Raises `NotFound`."""
        with self.lock:
            with self._translated:
                row = self.one(_ATTRIBUTES, (ino,))
            if row is None:
                return self._gone(ino)
            found = Attributes(row[0], KINDS[row[1]], *row[2:])
            if ino in self.opened or found.size_bytes >= SPARSE_BYTES_MIN:
                return self.overlaid(found)
            return found

    def overlaid(self, found: Attributes) -> Attributes:
        """`found`, corrected by what only the backing file knows: what was written since the last commit, and how
        many blocks a large file uses."""
        if found.kind is not Kind.FILE:
            return found
        opened = self.opened.get(found.ino)
        if opened is None or not opened.pinned:
            if found.size_bytes < SPARSE_BYTES_MIN:
                return found
            facts = self.files.stat(found.ino)
            if facts is None or facts.st_size != found.size_bytes:
                return found
            return found._replace(blocks=facts.st_blocks)
        info = os.fstat(next(iter(opened.pinned.values())).fd)
        if not opened.dirty and stamp(info) == opened.baseline:
            return found._replace(size_bytes=info.st_size, blocks=info.st_blocks)
        mtime_ns, ctime_ns = opened.times(info)
        return found._replace(
            size_bytes=info.st_size, blocks=info.st_blocks, mtime_ns=mtime_ns, ctime_ns=max(found.ctime_ns, ctime_ns)
        )

    def _gone(self, ino: int) -> Attributes:
        opened = self.opened.get(ino)
        ghost = self._ghosts.get(ino) if opened is None else opened.last
        if ghost is None:
            raise NotFound(f"inode {ino} is gone")
        if opened is not None and opened.handles:
            info = os.fstat(next(iter(opened.handles.values())).fd)
            ghost = ghost._replace(size_bytes=info.st_size, blocks=info.st_blocks, mtime_ns=info.st_mtime_ns)
        return ghost._replace(nlink=0)

    def seen_by(self, reader: int) -> Callable[[int, int], int | None]:
        """For `succeed`."""
        return lambda ino, change: self.seen.before(reader, ino, change)

    # ---- names ----

    def place(self, tx: Transaction, parent: int, name: bytes) -> Place:
        """What stands at `name`. Raises `NotFound` when the directory is gone, `NotADirectory` when it is none."""
        place = tx.place(parent, name)
        if place is None or (place.directory_nlink == 0 and place.directory_kind == Kind.DIRECTORY):
            raise NotFound(f"directory {parent} is gone")
        if place.directory_kind != Kind.DIRECTORY:
            raise NotADirectory(f"inode {parent} is not a directory")
        return place

    def stays_local(self, place: Place, parent: int, name: bytes, *, directory: bool) -> bool:
        """Whether what gets this name never leaves this machine: all below a local directory, and ignored names that
        the log does not have (a name that it has is tracked, as with git)."""
        if place.directory_local:
            return True
        if place.base is not None:
            return False
        return self.options.ignore.matches(
            name, directory=directory, path=lambda: b"/".join(filter(None, (self.replica.path_of(parent), name)))
        )

    # ---- the end of an inode ----

    def remove_unmade(self, ino: int) -> None:
        """Remove the backing file of an inode whose transaction was not committed, unless another process has the
        number by now: a block of numbers that was reserved in that transaction is free again."""
        with contextlib.suppress(AgentFSError), self.transaction() as tx:  # what stays is found as a stray some time
            if tx.inode(ino) is None:
                self.files.remove(ino)

    def purge(self, tx: Transaction, ino: int) -> bool:
        """Forget an inode without names, unless it is open here or still needed. When it went, the caller removes the
        backing file after the commit."""
        opened = self.opened.get(ino)
        if opened is not None:
            opened.unlinked = True
            return False
        row = tx.sql.one(_ATTRIBUTES, (ino,))
        if row is None or not tx.purge(ino):
            return False
        self._ghosts[ino] = Attributes(row[0], KINDS[row[1]], *row[2:])
        if len(self._ghosts) > _GHOSTS_MAX:
            del self._ghosts[next(iter(self._ghosts))]
        return True

    def is_ghost(self, ino: int) -> bool:
        """Whether the inode is gone, and the kernel may still refer to it."""
        return ino in self._ghosts

    def forget(self, ino: int) -> None:
        with self.lock:
            self._ghosts.pop(ino, None)
