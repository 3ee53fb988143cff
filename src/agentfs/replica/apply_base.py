"""Moving what the log has (`base`, `id`, `content`), and finding what that takes out of the log's tree.

Shared by pulls (`apply`) and by the settling of our own commits (`settle`). Nothing here changes what is shown.
"""

from collections.abc import Iterable

from agentfs.errors import Corrupt
from agentfs.format.commit import split_digests
from agentfs.model.records import ChunkedContent, Content, InlineContent, InodeId, InodeRecord, Kind
from agentfs.replica.transaction import PENDING_ATTRIBUTES, PENDING_CONTENT, PENDING_ENDED, ContentRow, Transaction

Name = tuple[int, bytes]
"""A place in the tree: ino of the directory, name."""


def content_of(row: ContentRow) -> Content:
    """The model's value of a `content` row."""
    if row.sequence is not None:
        return InlineContent(row.size_bytes, row.digest, row.sequence, row.offset or 0)
    return ChunkedContent(row.size_bytes, row.digest, split_digests(row.chunks or b""))


def content_row(ino: int, content: Content) -> ContentRow:
    if isinstance(content, InlineContent):
        return ContentRow(ino, content.digest, content.size_bytes, content.sequence, content.offset, None)
    return ContentRow(ino, content.digest, content.size_bytes, None, None, b"".join(content.chunks))


class BaseMove:
    """One step of the log, as far as the log's side of the tables goes."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.changes: dict[Name, tuple[int | None, int | None]] = {}
        """What the log had and has now at each name that it changed."""
        self.gone: dict[int, Kind] = {}
        """Inodes that no name of the log means any more."""
        self.touched: set[Name] = set()
        """Dentries whose `pending` must be set anew."""
        self._inos: dict[InodeId, int] = {}

    # ---- inodes of the log ----

    def find(self, inode: InodeId) -> int | None:
        """This machine's number of an inode of the log."""
        ino = self._inos.get(inode)
        if ino is None:
            row = self.tx.sql.one("SELECT ino FROM inode WHERE id=?", (inode,))
            if row is None:
                return None
            ino = self._inos[inode] = row[0]
        return ino

    def ino(self, inode: InodeId) -> int:
        """As `find`, but raises `Corrupt` when a commit names an inode that does not exist."""
        ino = self.find(inode)
        if ino is None:
            raise Corrupt(f"the log names inode {inode}, which it never created or has removed")
        return ino

    def remember(self, inode: InodeId, ino: int) -> None:
        self._inos[inode] = ino

    def insert(self, record: InodeRecord) -> int:
        """An inode that is in the log and not shown here yet."""
        tx = self.tx
        ino = tx.new_ino()
        size = record.content.size_bytes if record.content is not None else len(record.target)
        tx.sql.execute(
            "INSERT INTO inode(ino,id,kind,mode,uid,gid,rdev,nlink,size_bytes,atime_ns,mtime_ns,ctime_ns,birth_ns,"
            "target) VALUES(?,?,?,?,?,?,?,0,?,?,?,?,?,?)",
            (
                ino, record.id, int(record.kind), record.mode, record.uid, record.gid, record.rdev, size,
                record.mtime_ns, record.mtime_ns, record.ctime_ns, record.birth_ns, record.target or None,
            ),
        )  # fmt: skip
        if record.content is not None:
            self.set_content(ino, record.content)
        if record.xattrs:
            tx.sql.executemany("INSERT INTO xattr VALUES(?,?,?)", ((ino, *pair) for pair in record.xattrs))
            tx.sql.execute("DELETE FROM changed_field WHERE ino=?", (ino,))
        self._inos[record.id] = ino
        return ino

    def set_content(self, ino: int, content: Content) -> None:
        self.tx.sql.execute("INSERT OR REPLACE INTO content VALUES(?,?,?,?,?,?)", content_row(ino, content))

    # ---- names of the log ----

    def set_base(self, parent: int, name: bytes, ino: int | None) -> None:
        """From now on the log has `ino` at this name."""
        row = self.tx.sql.one("SELECT base FROM dentry WHERE parent=? AND name=?", (parent, name))
        old = row[0] if row is not None else None
        place = (parent, name)
        self.touched.add(place)
        if old == ino:
            return
        if row is None:
            self.tx.sql.execute("INSERT INTO dentry(parent,name,base) VALUES(?,?,?)", (parent, name, ino))
        else:
            self.tx.sql.execute("UPDATE dentry SET base=? WHERE parent=? AND name=?", (ino, parent, name))
        first = self.changes[place][0] if place in self.changes else old
        self.changes[place] = (first, ino)

    def names_of(self, ino: int) -> list[Name]:
        """Where the log has `ino`."""
        return [
            (row[0], row[1])
            for row in self.tx.sql.rows(
                "SELECT parent,name FROM dentry WHERE ino=?1 AND base=?1 AND ino IS NOT NULL "
                "UNION ALL SELECT parent,name FROM dentry WHERE base=?1 AND base IS NOT NULL AND base IS NOT ino",
                (ino,),
            )
        ]

    def shown_at(self, ino: int) -> list[Name]:
        rows = self.tx.sql.rows("SELECT parent,name FROM dentry WHERE ino=? AND ino IS NOT NULL", (ino,))
        return [(row[0], row[1]) for row in rows]

    def kind(self, ino: int) -> Kind:
        row = self.tx.sql.one("SELECT kind FROM inode WHERE ino=?", (ino,))
        if row is None:
            raise Corrupt(f"inode {ino} of this replica is missing")
        return Kind(row[0])

    def find_gone(self, also: Iterable[int] = ()) -> None:
        """Fill `gone`: what lost its last name, and, below directories that did, all that has no other name."""
        candidates = [old for old, new in self.changes.values() if old is not None and old != new]
        candidates.extend(also)
        while candidates:
            ino = candidates.pop()
            if ino in self.gone or ino == 1 or self.names_of(ino):
                continue
            kind = self.gone[ino] = self.kind(ino)
            if kind is Kind.DIRECTORY:
                rows = self.tx.sql.rows("SELECT name,base FROM dentry WHERE parent=? AND base IS NOT NULL", (ino,))
                for name, base in rows:
                    self.set_base(ino, name, None)
                    candidates.append(base)

    def retire(self) -> list[int]:
        """Take the gone inodes out of the log's numbering. Those still shown are all pending again, as new ones.
        Returns those that are shown nowhere, not being written, and forgotten (`Transaction.purge`)."""
        orphans = []
        for ino, kind in self.gone.items():
            row = self.tx.sql.one("SELECT nlink, residency, pending, local FROM inode WHERE ino=?", (ino,))
            assert row is not None
            nlink, residency, pending, local = row
            self.tx.sql.execute("DELETE FROM changed_field WHERE ino=?", (ino,))
            self.tx.sql.execute("DELETE FROM fork WHERE ino=?", (ino,))  # what it was to be merged with is gone
            if nlink == 0:
                self.tx.sql.execute("UPDATE inode SET id=NULL, pending=0 WHERE ino=?", (ino,))
                orphans.append(ino)
                continue
            pending = PENDING_ATTRIBUTES | (pending & PENDING_CONTENT)
            if kind is Kind.FILE and residency == 1:
                pending |= PENDING_CONTENT
            if pending & PENDING_CONTENT:  # else the row is kept: it tells where the bytes are
                self.tx.sql.execute("DELETE FROM content WHERE ino=?", (ino,))
            self.tx.sql.execute(
                "UPDATE inode SET id=NULL, pending=?2, "
                "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?3 END WHERE ino=?1",
                (ino, 0 if local else pending, self.tx.now_ns),
            )
        return orphans

    def tidy(self) -> None:
        """Set `pending` of every dentry that was touched; drop those that mean nothing on either side. Forget what
        files left a name with that the log has now where they are shown."""
        for parent, name in self.touched:
            self.tx.sql.execute(
                "DELETE FROM dentry WHERE parent=?1 AND name=?2 AND ino IS NULL AND base IS NULL", (parent, name)
            )
            if self.tx.sql.changes() == 0:
                self.tx.sql.execute(
                    "UPDATE dentry SET pending=CASE WHEN local OR ino IS base THEN 0 "
                    f"WHEN ino IS NULL AND pending={PENDING_ENDED} THEN {PENDING_ENDED} ELSE 1 END, "
                    "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?3 END WHERE parent=?1 AND name=?2",
                    (parent, name, self.tx.now_ns),
                )
        self.tx.sql.execute(
            "DELETE FROM left_with WHERE NOT EXISTS (SELECT 1 FROM dentry WHERE base=left_with.ino "
            "AND base IS NOT NULL AND base IS NOT ino)"
        )

    def set_head(self, sequence: int, digest: bytes, time_ns: int) -> None:
        """Move the head. What was prepared for places up to it is settled by that: it stands there or never will."""
        self.tx.sql.execute("DELETE FROM prepared WHERE sequence<=?", (sequence,))
        self.tx.sql.executemany(
            "INSERT OR REPLACE INTO state VALUES(?,?)",
            [("head_sequence", sequence), ("head_digest", digest), ("head_time_ns", time_ns)],
        )
