"""The one door: every change of what this machine shows passes through a `Transaction`.

A transaction is one SQLite transaction that changes inodes and dentries, marks what is pending, and writes the
journal. It knows nothing of POSIX rules (`tree` does) nor of the log's order (`sync` does).
"""

from typing import NamedTuple, cast

from agentfs.model.records import Kind
from agentfs.replica.database import Connection, Row
from agentfs.replica.journal import ChangeKind

PENDING_ATTRIBUTES = 1
PENDING_CONTENT = 2

RESIDENCY_REMOTE = 0
RESIDENCY_LOCAL = 1
RESIDENCY_SUSPECT = 2


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

_INSERT_INODE = (
    "INSERT INTO inode(kind,mode,uid,gid,rdev,nlink,atime_ns,mtime_ns,ctime_ns,birth_ns,target,residency,"
    "used_at_ns,local,pending,pending_at_ns) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING ino"
)
_LINK = (
    "INSERT INTO dentry(parent,name,ino,base,pending,pending_at_ns,local) VALUES(?1,?2,?3,NULL,?4,?5,1-?4) "
    "ON CONFLICT(parent,name) DO UPDATE SET ino=?3, "
    "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?5 END, "
    "pending=(base IS NOT ?3 AND (?4 OR base IS NOT NULL)), local=(base IS NULL AND ?4=0)"
)
_LINKED = "UPDATE inode SET nlink=nlink+1, ctime_ns=?2, change=change+1 WHERE ino=?1"
_UNLINK = (
    "UPDATE dentry SET ino=NULL, pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?3 END, pending=1 "
    "WHERE parent=?1 AND name=?2 AND base IS NOT NULL"
)
_JOURNAL = "INSERT INTO journal(session,kind,ino,parent,name,at_ns) VALUES(?,?,?,?,?,?)"


def inode_row(row: Row) -> InodeRow:
    made = InodeRow._make(row)
    return made._replace(kind=Kind(made.kind))


class Transaction:
    """Open between `BEGIN IMMEDIATE` and `COMMIT`. Made by `Replica.transaction`, used by one thread."""

    def __init__(self, connection: Connection, *, session: int, now_ns: int) -> None:
        self.sql = connection
        self.session = session
        self.now_ns = now_ns

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

    def dentry(self, parent: int, name: bytes) -> DentryRow | None:
        row = self.sql.one("SELECT * FROM dentry WHERE parent=? AND name=?", (parent, name))
        return None if row is None else DentryRow._make(row)

    def is_empty(self, directory: int) -> bool:
        return self.sql.one("SELECT 1 FROM dentry WHERE parent=? AND ino IS NOT NULL LIMIT 1", (directory,)) is None

    def is_write_open(self, ino: int) -> bool:
        """Whether any process of this machine has the inode open for writing."""
        return self.sql.one("SELECT 1 FROM write_open WHERE ino=? LIMIT 1", (ino,)) is not None

    # ---- changing what this machine shows ----

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
    ) -> int:
        """A new inode, with no dentry yet (a directory starts with the link of its own "."). Files are resident."""
        now = self.now_ns
        pending = 0 if local else PENDING_ATTRIBUTES | (PENDING_CONTENT if kind is Kind.FILE else 0)
        row = self.sql.one(
            _INSERT_INODE,
            (
                int(kind), mode, uid, gid, rdev, 1 if kind is Kind.DIRECTORY else 0, now, now, now, now, target,
                RESIDENCY_LOCAL if kind is Kind.FILE else RESIDENCY_REMOTE, now, int(local), pending, now,
            ),
        )  # fmt: skip
        assert row is not None
        return cast(int, row[0])

    def link(self, parent: int, name: bytes, ino: int, *, directory: bool, local: bool) -> None:
        """Let `name` in `parent` mean `ino`. The name must be free here (`unlink` first to replace)."""
        self.sql.execute(_LINK, (parent, name, ino, 0 if local else 1, self.now_ns))
        self.sql.execute(_LINKED, (ino, self.now_ns))
        self._touch_parent(parent, 1 if directory else 0)
        self._record(ChangeKind.LINK, ino, parent, name)

    def unlink(self, parent: int, name: bytes, ino: int, *, directory: bool) -> int:
        """Take `name`, which means `ino`, out of `parent`. Returns the links that `ino` has left (a directory: 1 for
        its own "." when it is gone from the tree)."""
        self.sql.execute(_UNLINK, (parent, name, self.now_ns))
        if self.sql.changes() == 0:
            self.sql.execute("DELETE FROM dentry WHERE parent=? AND name=?", (parent, name))
        row = self.sql.one(
            "UPDATE inode SET nlink=nlink-1, ctime_ns=?2, change=change+1 WHERE ino=?1 RETURNING nlink",
            (ino, self.now_ns),
        )
        self._touch_parent(parent, -1 if directory else 0)
        self._record(ChangeKind.UNLINK, ino, parent, name)
        assert row is not None
        return cast(int, row[0])

    def _touch_parent(self, parent: int, subdirectories: int) -> None:
        self.sql.execute(
            "UPDATE inode SET mtime_ns=?2, ctime_ns=?2, nlink=nlink+?3, change=change+1, "
            "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?2 END, "
            "pending=CASE WHEN local THEN 0 ELSE pending|1 END WHERE ino=?1",
            (parent, self.now_ns, subdirectories),
        )

    def set_attributes(self, ino: int, **columns: int | bytes | None) -> None:
        """Change columns of an inode that are attributes (not bytes), and mark them pending."""
        self._update(ino, columns, PENDING_ATTRIBUTES)
        self._record(ChangeKind.ATTRIBUTES, ino)

    def content_written(self, ino: int, *, size_bytes: int, mtime_ns: int, ctime_ns: int) -> None:
        """The backing file holds new bytes: remember its size and times, and that they are to be committed."""
        columns = {"size_bytes": size_bytes, "mtime_ns": mtime_ns, "ctime_ns": ctime_ns, "residency": RESIDENCY_LOCAL}
        self._update(ino, columns, PENDING_ATTRIBUTES | PENDING_CONTENT)
        self._record(ChangeKind.CONTENT, ino)

    def _update(self, ino: int, columns: "dict[str, int] | dict[str, int | bytes | None]", pending: int) -> None:
        if not columns.keys() <= _SETTABLE:
            raise ValueError(f"not settable: {sorted(columns.keys() - _SETTABLE)}")
        content = ", content_change=content_change+1" if pending & PENDING_CONTENT else ""
        self.sql.execute(
            f"UPDATE inode SET {''.join(f'{column}=?,' for column in columns)} change=change+1{content}, "
            "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ? END, "
            "pending=CASE WHEN local THEN 0 ELSE pending|? END WHERE ino=?",
            (*columns.values(), self.now_ns, pending, ino),
        )

    def set_xattr(self, ino: int, name: bytes, value: bytes | None) -> None:
        """Set an extended attribute; None removes it."""
        if value is None:
            self.sql.execute("DELETE FROM xattr WHERE ino=? AND name=?", (ino, name))
        else:
            self.sql.execute("INSERT OR REPLACE INTO xattr VALUES(?,?,?)", (ino, name, value))
        self.set_attributes(ino, ctime_ns=self.now_ns)

    def set_local(self, ino: int, local: bool) -> None:
        """Make an inode one that never leaves this machine, or one that does (then all of it is pending)."""
        self.sql.execute(
            "UPDATE inode SET local=?2, pending_at_ns=?3, "
            "pending=CASE WHEN ?2 THEN 0 WHEN kind=1 THEN 3 ELSE 1 END WHERE ino=?1 AND local!=?2",
            (ino, int(local), self.now_ns),
        )

    # ---- marks ----

    def mark_write_open(self, ino: int) -> None:
        """Remember that this session may be writing the backing file (re-hashed after a crash)."""
        self.sql.execute("INSERT OR IGNORE INTO write_open VALUES(?,?)", (ino, self.session))

    def clear_write_open(self, ino: int) -> None:
        self.sql.execute("DELETE FROM write_open WHERE ino=? AND session=?", (ino, self.session))

    # ---- the end of an inode ----

    def purge(self, ino: int) -> bool:
        """Forget an inode that nothing names: not here, not in the log, not being written. Returns whether it went;
        the caller then removes the backing file, *after* the commit."""
        gone = self.sql.one(
            "SELECT 1 FROM inode WHERE ino=?1 AND nlink<=(kind=2) "
            "AND NOT EXISTS (SELECT 1 FROM dentry WHERE base=?1 AND base IS NOT NULL AND base IS NOT ino) "
            "AND NOT EXISTS (SELECT 1 FROM dentry WHERE ino=?1 AND ino IS NOT NULL) "
            "AND NOT EXISTS (SELECT 1 FROM write_open WHERE ino=?1)",
            (ino,),
        )
        if gone is None or ino == 1:
            return False
        for table in ("inode", "content", "xattr", "detached", "live_database"):
            self.sql.execute(f"DELETE FROM {table} WHERE ino=?", (ino,))
        return True

    # ---- journal ----

    def _record(self, kind: ChangeKind, ino: int, parent: int | None = None, name: bytes | None = None) -> None:
        self.sql.execute(_JOURNAL, (self.session, int(kind), ino, parent, name, self.now_ns))

    def record(self, kind: ChangeKind, ino: int, parent: int | None = None, name: bytes | None = None) -> None:
        """A journal row for a change that the caller made with its own SQL (pulls do)."""
        self._record(kind, ino, parent, name)
