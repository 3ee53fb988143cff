"""The one door: every change of what this machine shows passes through a `Transaction`.

A transaction is one SQLite transaction that changes inodes and dentries, marks what is pending, and writes the
journal. It knows nothing of POSIX rules (`tree` does) nor of the log's order (`sync` does).
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, cast

import apsw

from agentfs.clock import Clock
from agentfs.model.records import Kind
from agentfs.replica.database import Connection, Row, translate
from agentfs.replica.journal import ChangeKind

PENDING_ATTRIBUTES = 1
PENDING_CONTENT = 2
PENDING_ENDED = 2
"""Of a name that was taken away here because the time of its file was over; of any other that is pending: 1."""

_TIME_MAX_NS = (1 << 63) - 1
"""In the year 2262; there is one as far before 1970."""

RESIDENCY_REMOTE = 0
RESIDENCY_LOCAL = 1
RESIDENCY_SUSPECT = 2


ROOT = 1
"""The root directory's number on every machine."""


def near_time(ns: int) -> int:
    """The time, or the nearest that 64 bits hold."""
    return max(-_TIME_MAX_NS, min(ns, _TIME_MAX_NS))


class InodeRow(NamedTuple):
    """A row of `inode`, all columns in the order of the schema."""

    ino: int
    id: int | None
    kind: Kind
    mode: int
    uid: int
    gid: int
    rdev: int
    nlink: int
    size_bytes: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int
    target: bytes | None
    change: int
    content_change: int
    residency: int
    used_at_ns: int
    local: int
    pending: int
    pending_at_ns: int


class ContentRow(NamedTuple):
    """A row of `content`: a file's bytes as the log has them."""

    ino: int
    digest: bytes
    size_bytes: int
    sequence: int | None
    offset: int | None
    chunks: bytes | None


class DentryRow(NamedTuple):
    parent: int
    name: bytes
    ino: int | None
    base: int | None
    pending: int
    pending_at_ns: int
    local: int


_SETTABLE = frozenset(
    {"mode", "uid", "gid", "size_bytes", "atime_ns", "mtime_ns", "ctime_ns", "target", "residency", "used_at_ns"}
)
_NUMBERS_RESERVED = 256

# One statement for each common case, with no column of an index in its SET list where the value cannot change:
# SQLite rewrites the entries of an index whose columns are set, equal or not, and each index is a page of WAL.
_INSERT_INODE = (
    "INSERT INTO inode(ino,kind,mode,uid,gid,rdev,nlink,size_bytes,atime_ns,mtime_ns,ctime_ns,birth_ns,target,"
    "residency,used_at_ns,local,pending,pending_at_ns) "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?13,?8,?14,?8,?8,?9,?10,?8,?11,?12,?8)"
)
_PLACE = (
    "SELECT p.kind, p.mode, p.gid, p.nlink, p.local, d.ino, d.base, d.local FROM inode p "
    "LEFT JOIN dentry d ON d.parent=p.ino AND d.name=?2 WHERE p.ino=?1"
)
_INSERT_DENTRY = (
    "INSERT INTO dentry(parent,name,ino,base,pending,pending_at_ns,local) VALUES(?1,?2,?3,NULL,1-?4,?5,?4)"
)
_LINK = (
    f"{_INSERT_DENTRY} ON CONFLICT(parent,name) DO UPDATE SET ino=?3, "
    "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?5 END, "
    "pending=(?4=0 AND base IS NOT ?3), local=?4"
)
_LINKED = "UPDATE inode SET nlink=nlink+?3, ctime_ns=?2, change=change+1 WHERE ino=?1"
_UNLINK = (
    "UPDATE dentry SET ino=NULL, pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?3 END, "
    "pending=CASE WHEN local THEN 0 ELSE ?4 END WHERE parent=?1 AND name=?2 AND base IS NOT NULL"
)
_TOUCH = "UPDATE inode SET mtime_ns=?2, ctime_ns=?2, nlink=nlink+?3, change=change+1 WHERE ino=?1"
_TOUCH_IF_PENDING = _TOUCH + " AND (pending & 1 OR local)"
_TOUCH_AND_MARK = (
    "UPDATE inode SET mtime_ns=?2, ctime_ns=?2, nlink=nlink+?3, change=change+1, "
    "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?2 END, pending=pending|1 WHERE ino=?1"
)
_WRITTEN = (
    "UPDATE inode SET size_bytes=?2, mtime_ns=?3, ctime_ns=max(ctime_ns,?4), residency=1, change=change+1, "
    "content_change=content_change+1"
)
_WRITTEN_IF_PENDING = _WRITTEN + " WHERE ino=?1 AND (pending=3 OR local)"
_WRITTEN_AND_MARK = (
    _WRITTEN + ", pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?5 END, "
    "pending=CASE WHEN local THEN 0 ELSE 3 END WHERE ino=?1"
)
_JOURNAL = "INSERT INTO journal(session,kind,ino,parent,name,at_ns) VALUES(?,?,?,?,?,?)"

KINDS: tuple[Kind, ...] = (Kind.FILE, *Kind)
"""`KINDS[value]` is the `Kind` of a stored value, in a tenth of the time of `Kind(value)`."""


class Place(NamedTuple):
    """A name in a directory, which must exist: what stands there, and what the directory is."""

    directory_kind: int
    directory_mode: int
    directory_gid: int
    directory_nlink: int
    directory_local: int
    ino: int | None
    base: int | None
    local: int | None
    """The name's own flag; None when there is no dentry."""


def inode_row(row: Row) -> InodeRow:
    return InodeRow(row[0], row[1], KINDS[row[2]], *row[3:])


class Door:
    """What all transactions of one process share."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.connection = connection
        self.clock = clock
        self.lock = threading.RLock()
        self.session = 0
        self.changed: list[Callable[[], None]] = []
        self.number_next = 0
        self.number_end = 0


class Transaction:
    """One atomic change: `with replica.transaction() as tx`. Leaving the block commits, an exception rolls everything
    back; a failed commit is rolled back and raised. Holds the replica's lock meanwhile. Not to be nested."""

    __slots__ = ("_door", "_durable", "_execute", "_reserved", "now_ns", "session", "sql")

    def __init__(self, door: Door, *, session: int, durable: bool) -> None:
        self._door = door
        self._durable = durable
        self._reserved = False
        self.sql = door.connection
        self._execute = door.connection.execute
        self.session = session
        self.now_ns = 0

    def __enter__(self) -> "Transaction":
        door = self._door
        door.lock.acquire()
        try:
            if self._durable:
                self._execute("PRAGMA synchronous=FULL")
            self._execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._leave()
            if isinstance(error, apsw.Error):
                raise translate(error, self.sql.path) from error
            raise
        self.now_ns = door.clock.wall_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                try:
                    self._execute("COMMIT")
                except apsw.Error as refused:
                    self._roll_back()
                    raise translate(refused, self.sql.path) from refused
                for callback in self._door.changed:
                    callback()
            else:
                self._roll_back()
                if isinstance(error, apsw.Error):
                    raise translate(error, self.sql.path) from error
        finally:
            self._leave()

    def _leave(self) -> None:
        door = self._door
        try:
            if self._durable:
                self._execute("PRAGMA synchronous=NORMAL")
        finally:
            door.lock.release()

    def _roll_back(self) -> None:
        if self._reserved:  # the reservation is rolled back too: others may get these numbers
            self._door.number_next = self._door.number_end = 0
        if self.sql.in_transaction:  # a full disk makes SQLite roll back by itself
            self._execute("ROLLBACK")

    # ---- reading ----

    def inode(self, ino: int) -> InodeRow | None:
        row = self.sql.one("SELECT * FROM inode WHERE ino=?", (ino,))
        return None if row is None else inode_row(row)

    def content(self, ino: int) -> ContentRow | None:
        row = self.sql.one("SELECT * FROM content WHERE ino=?", (ino,))
        return None if row is None else ContentRow._make(row)

    def child(self, parent: int, name: bytes) -> int | None:
        """The inode that `name` in `parent` means here."""
        row = self.sql.one("SELECT ino FROM dentry WHERE parent=? AND name=?", (parent, name))
        return None if row is None else cast(int | None, row[0])

    def place(self, parent: int, name: bytes) -> Place | None:
        """What stands at `name` in `parent`; None when `parent` is not an inode."""
        row = self.sql.one(_PLACE, (parent, name))
        return None if row is None else Place(*row)

    def dentry(self, parent: int, name: bytes) -> DentryRow | None:
        row = self.sql.one("SELECT * FROM dentry WHERE parent=? AND name=?", (parent, name))
        return None if row is None else DentryRow._make(row)

    def is_empty(self, directory: int) -> bool:
        return self.sql.one("SELECT 1 FROM dentry WHERE parent=? AND ino IS NOT NULL LIMIT 1", (directory,)) is None

    def is_write_open(self, ino: int) -> bool:
        """Whether any process of this machine has the inode open for writing."""
        return self.sql.one("SELECT 1 FROM write_open WHERE ino=? LIMIT 1", (ino,)) is not None

    # ---- changing what this machine shows ----

    def new_ino(self) -> int:
        """A number that no inode ever had. Numbers are reserved in blocks (the rest of a block is lost with the
        process), so that a create does not write the page of `sqlite_sequence` each time."""
        door = self._door
        if door.number_next == door.number_end:
            row = self.sql.one(
                "UPDATE sqlite_sequence SET seq=seq+? WHERE name='inode' RETURNING seq", (_NUMBERS_RESERVED,)
            )
            assert row is not None
            door.number_end = row[0] + 1
            door.number_next = door.number_end - _NUMBERS_RESERVED
            self._reserved = True
        ino = door.number_next
        door.number_next += 1
        return ino

    def insert_inode(
        self,
        kind: Kind,
        *,
        mode: int,
        uid: int,
        gid: int,
        local: bool,
        rdev: int = 0,
        target: bytes | None = None,
        nlink: int = 0,
        size_bytes: int = 0,
        mtime_ns: int | None = None,
    ) -> int:
        """A new inode, with no dentry yet. Files are resident (the caller makes the backing file, of this size)."""
        ino = self.new_ino()
        is_file = kind is Kind.FILE
        pending = 0 if local else PENDING_ATTRIBUTES | (PENDING_CONTENT if is_file else 0)
        self._execute(
            _INSERT_INODE,
            (
                ino, int(kind), mode, uid, gid, rdev, nlink, self.now_ns, target,
                RESIDENCY_LOCAL if is_file else RESIDENCY_REMOTE, int(local), pending, size_bytes,
                self.now_ns if mtime_ns is None else mtime_ns,
            ),
        )  # fmt: skip
        return ino

    def add(
        self,
        parent: int,
        name: bytes,
        place: Place,
        kind: Kind,
        *,
        mode: int,
        uid: int,
        gid: int,
        local: bool,
        rdev: int = 0,
        target: bytes | None = None,
        size_bytes: int = 0,
        mtime_ns: int | None = None,
    ) -> int:
        """A new inode at a name that is free here (`place` is what `place()` said of it): `insert_inode` and `link`
        in fewer statements."""
        directory = 1 if kind is Kind.DIRECTORY else 0
        ino = self.insert_inode(
            kind,
            mode=mode,
            uid=uid,
            gid=gid,
            local=local,
            rdev=rdev,
            target=target,
            nlink=1 + directory,
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
        )
        self._execute(
            _INSERT_DENTRY if place.local is None else _LINK, (parent, name, ino, 1 if local else 0, self.now_ns)
        )
        self._touch_parent(parent, directory, local=local)
        self._execute(_JOURNAL, (self.session, 1, ino, parent, name, self.now_ns))
        return ino

    def link(self, parent: int, name: bytes, ino: int, *, directory: bool, local: bool) -> None:
        """Let `name` in `parent` mean `ino`. The name must be free here (`unlink` first to replace). A directory
        gains two links: the name, and its own "."."""
        self._execute(_LINK, (parent, name, ino, 1 if local else 0, self.now_ns))
        self._execute(_LINKED, (ino, self.now_ns, 1 + directory))
        self._touch_parent(parent, 1 if directory else 0, local=local)
        self._record(ChangeKind.LINK, ino, parent, name)

    def unlink(
        self, parent: int, name: bytes, ino: int, *, directory: bool, local: bool = False, ended: bool = False
    ) -> int:
        """Take `name`, which means `ino`, out of `parent`. Returns the links that `ino` has left (a directory loses
        two: the name, and its own "."). `local`: the name never left this machine, so `parent` does not become
        pending by it. `ended`: because the file's time was over, which its commit says."""
        self._execute(_UNLINK, (parent, name, self.now_ns, PENDING_ENDED if ended else 1))
        if self.sql.changes() == 0:
            self._execute("DELETE FROM dentry WHERE parent=? AND name=?", (parent, name))
        self._execute(_LINKED, (ino, self.now_ns, -1 - directory))
        self._touch_parent(parent, -1 if directory else 0, local=local)
        self._record(ChangeKind.UNLINK, ino, parent, name)
        row = self.sql.one("SELECT nlink FROM inode WHERE ino=?", (ino,))
        assert row is not None
        return cast(int, row[0])

    def _touch_parent(self, parent: int, subdirectories: int, *, local: bool) -> None:
        values = (parent, self.now_ns, subdirectories)
        if local:
            self._execute(_TOUCH, values)
            return
        self._execute(_TOUCH_IF_PENDING, values)
        if self.sql.changes() == 0:
            self._execute(_TOUCH_AND_MARK, values)

    def set_attributes(self, ino: int, **columns: int | bytes | None) -> None:
        """Change columns of an inode that are attributes (not bytes), and mark them pending."""
        self._update(ino, columns, PENDING_ATTRIBUTES)
        self._record(ChangeKind.ATTRIBUTES, ino)

    def set_access_time(self, ino: int, atime_ns: int, *, used_at_ns: int) -> None:
        """Remember that the inode was read. Never pending, never in the journal: it concerns this machine alone."""
        self._execute("UPDATE inode SET atime_ns=?2, used_at_ns=?3 WHERE ino=?1", (ino, atime_ns, used_at_ns))

    def content_written(self, ino: int, *, size_bytes: int, mtime_ns: int, ctime_ns: int) -> None:
        """The backing file holds new bytes: remember its size and times, and that they are to be committed. A disk
        may have times that 64 bits do not hold: the nearest that they do."""
        mtime_ns, ctime_ns = near_time(mtime_ns), near_time(ctime_ns)
        self._execute(_WRITTEN_IF_PENDING, (ino, size_bytes, mtime_ns, ctime_ns))
        if self.sql.changes() == 0:
            self._execute(_WRITTEN_AND_MARK, (ino, size_bytes, mtime_ns, ctime_ns, self.now_ns))
        self._execute(_JOURNAL, (self.session, 3, ino, None, None, self.now_ns))

    def _update(self, ino: int, columns: "dict[str, int | bytes | None]", pending: int) -> None:
        if not columns.keys() <= _SETTABLE:
            raise ValueError(f"not settable: {sorted(columns.keys() - _SETTABLE)}")
        self._execute(
            f"UPDATE inode SET {''.join(f'{column}=?,' for column in columns)} change=change+1, "
            "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ? END, "
            "pending=CASE WHEN local THEN 0 ELSE pending|? END WHERE ino=?",
            (*columns.values(), self.now_ns, pending, ino),
        )

    def set_xattr(self, ino: int, name: bytes, value: bytes | None) -> None:
        """Set an extended attribute; None removes it."""
        if value is None:
            self._execute("DELETE FROM xattr WHERE ino=? AND name=?", (ino, name))
        else:
            self._execute("INSERT OR REPLACE INTO xattr VALUES(?,?,?)", (ino, name, value))
        self.set_attributes(ino, ctime_ns=self.now_ns)

    def set_local(self, ino: int, local: bool) -> None:
        """Make an inode one that never leaves this machine, or one that does (then all of it is pending; but of a
        file whose bytes are not here, the content is what its `content` row says)."""
        self._execute(
            "UPDATE inode SET local=?2, pending_at_ns=?3, "
            "pending=CASE WHEN ?2 THEN 0 WHEN kind=1 AND residency=1 THEN 3 ELSE 1 END WHERE ino=?1 AND local!=?2",
            (ino, int(local), self.now_ns),
        )

    def set_dentry_local(self, parent: int, name: bytes, local: bool) -> None:
        """Make a name one that never leaves this machine, or one that does (then it is pending unless the log has the
        same there). A local name has nothing to commit even where `base` differs: either the directory is leaving
        the log with all that is in it, or it was never there."""
        self._execute(
            "UPDATE dentry SET local=?3, pending=(?3=0 AND base IS NOT ino), pending_at_ns=?4 "
            "WHERE parent=?1 AND name=?2 AND local!=?3",
            (parent, name, int(local), self.now_ns),
        )

    # ---- marks ----

    def mark_write_open(self, ino: int) -> None:
        """Remember that this session may be writing the backing file (re-hashed after a crash)."""
        self._execute("INSERT OR IGNORE INTO write_open VALUES(?,?)", (ino, self.session))

    def clear_write_open(self, ino: int) -> None:
        self._execute("DELETE FROM write_open WHERE ino=? AND session=?", (ino, self.session))

    # ---- the end of an inode ----

    def purge(self, ino: int) -> bool:
        """Forget an inode that nothing names: not here, not in the log, not being written. Returns whether it went;
        the caller then removes the backing file, *after* the commit."""
        gone = self.sql.one(
            "SELECT kind FROM inode WHERE ino=?1 AND nlink<=(kind=2) "
            "AND NOT EXISTS (SELECT 1 FROM dentry WHERE base=?1 AND base IS NOT NULL AND base IS NOT ino) "
            "AND NOT EXISTS (SELECT 1 FROM dentry WHERE ino=?1 AND ino IS NOT NULL) "
            "AND NOT EXISTS (SELECT 1 FROM write_open WHERE ino=?1)",
            (ino,),
        )
        if gone is None or ino == 1:
            return False
        for statement in _PURGE:
            self._execute(statement, (ino,))
        if gone[0] == 2:  # names in it that the log had before the directory left the log
            self._execute("DELETE FROM dentry WHERE parent=? AND ino IS NULL", (ino,))
        return True

    # ---- journal ----

    def _record(self, kind: ChangeKind, ino: int, parent: int | None = None, name: bytes | None = None) -> None:
        self._execute(_JOURNAL, (self.session, int(kind), ino, parent, name, self.now_ns))

    def record(self, kind: ChangeKind, ino: int, parent: int | None = None, name: bytes | None = None) -> None:
        """A journal row for a change that the caller made with its own SQL (pulls do)."""
        self._record(kind, ino, parent, name)


_PURGE = tuple(
    f"DELETE FROM {table} WHERE ino=?"
    for table in ("inode", "content", "xattr", "detached", "live_database", "fork", "left_with", "past")
)
