"""The index of a volume's history: SQLite beside the replica's database, written by the engine's process only.

    <replica's directory>/history.db

Entries of the log go in one after the other, each in one transaction that also moves the index's head: after a
crash, or a power cut, it holds the log up to some entry, whole. Nothing in it is a truth: what is damaged, of another
version or of another log is dropped and read again from the log. A database of its own, so that no write of the
replica ever waits for it.
"""

import os
from collections.abc import Iterable

from agentfs.errors import HistoryBroken
from agentfs.format.pack import Evidence, Lineage
from agentfs.format.snapshot import inode_record
from agentfs.format.snapshot_rows import SnapshotRows
from agentfs.history.places import COLUMNS, to_columns
from agentfs.model.records import Commit, ConflictId, InodeId, InodeRecord, Kind, Sides
from agentfs.replica.database import Connection, Row
from agentfs.replica.derived_file import DerivedFile

SCHEMA_VERSION = 4
_NO_DIGEST = bytes(32)
_CACHE_KIB = 16 * 1024


def index_path(directory: str) -> str:
    """Where the index of the replica in `directory` is."""
    return os.path.join(directory, "history.db")


class HistoryIndex:
    """Safe from any thread. The file is made at the first use; `close` ends it."""

    def __init__(self, directory: str) -> None:
        self._file = DerivedFile(
            index_path(directory),
            what="the index of the history",
            schema="agentfs.history",
            of={"schema_version": SCHEMA_VERSION},
            start={},
            cache_kib=_CACHE_KIB,
        )
        self.path = self._file.path
        self.reading = self._file.reading
        self.drop = self._file.drop
        self.close = self._file.close

    @property
    def exists(self) -> bool:
        """Whether anything was ever indexed here."""
        return self._file.exists

    # ---- the head ----

    def head(self) -> tuple[int, bytes]:
        """The last entry that is indexed, and its digest; 0 and zeros before the first."""
        with self.reading() as sql:
            return _head(sql)

    # ---- adding ----

    def add(self, commits: Iterable[tuple[Commit, bytes]]) -> int:
        """Add entries (a commit and its digest) that follow the head, in one transaction; those up to the head are
        passed over. Returns how many were added.

        Raises `HistoryBroken` when one does not continue the head: nothing was added then.
        """
        added = 0
        with self._file.writing() as sql:
            head, digest = _head(sql)
            for commit, own in commits:
                if commit.sequence <= head:
                    continue
                if commit.sequence != head + 1 or commit.parent != digest:
                    raise HistoryBroken(f"log entry {commit.sequence} does not continue the history known here")
                _Adding(sql, commit.sequence).commit(commit, own)
                head, digest = commit.sequence, own
                added += 1
        return added

    def add_snapshot(
        self, snapshot: SnapshotRows, *, lineages: Iterable[Lineage] = (), evidence: Iterable[Evidence] = ()
    ) -> None:
        """Go on at `snapshot`, which is beyond the head: the commits between were collected. What differs then
        appears as changed by an entry without an author, but for what packs keep of it (`lineages`, `evidence`)."""
        with self._file.writing() as sql:
            head, _ = _head(sql)
            if snapshot.sequence <= head:
                return
            adding = _Adding(sql, snapshot.sequence)
            adding.snapshot(snapshot, first=head + 1)
            adding.kept(lineages)
            adding.evidence(evidence)


def _head(sql: Connection) -> tuple[int, bytes]:
    row = sql.one("SELECT sequence, digest FROM entry ORDER BY sequence DESC LIMIT 1")
    return (row[0], row[1]) if row is not None else (0, _NO_DIGEST)


class _Adding:
    """One entry's rows."""

    def __init__(self, sql: Connection, sequence: int) -> None:
        self.sql = sql
        self.sequence = sequence
        self.maybe_gone: list[InodeId] = []

    def commit(self, commit: Commit, digest: bytes) -> None:
        author = self._author(commit.author, commit.replica)
        self.sql.execute(
            "INSERT INTO entry VALUES(?,?,?,?,0,?)", (self.sequence, digest, commit.time_ns, author, commit.cause)
        )
        self._records(commit.inodes)
        for unlink in commit.unlinks:
            self._unbind(unlink.parent, unlink.name)
        for link in commit.links:
            self._bind(link.parent, link.name, link.child)
        self._close_gone()
        self._conflicts(commit)
        self.sql.executemany(
            "INSERT INTO imported VALUES(?,?,?,?)",
            ((it.name, it.digest, it.modified_s, commit.sequence) for it in commit.imported),
        )

    def _author(self, author: str, replica: str) -> int:
        row = self.sql.one("SELECT id FROM author WHERE author=? AND replica=?", (author, replica))
        if row is None:
            row = self.sql.one("INSERT INTO author(author,replica) VALUES(?,?) RETURNING id", (author, replica))
        assert row is not None
        return int(row[0])

    def _records(self, records: Iterable[InodeRecord]) -> None:
        rows, xattrs = [], []
        for it in records:
            rows.append(
                (
                    it.id, self.sequence, int(it.kind), it.mode, it.uid, it.gid, it.mtime_ns, it.ctime_ns,
                    it.birth_ns, it.rdev, it.target or None, *to_columns(it.content),
                )
            )  # fmt: skip
            xattrs += [(it.id, self.sequence, name, value) for name, value in it.xattrs]
        self.sql.executemany("INSERT INTO record VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
        self.sql.executemany("INSERT INTO xattr VALUES(?,?,?,?)", xattrs)

    # ---- names ----

    def _bound(self, parent: InodeId, name: bytes) -> Row | None:
        """The name's row, while it means something."""
        row = self.sql.one(
            "SELECT id, inode, since, until FROM name WHERE parent=? AND name=? ORDER BY since DESC LIMIT 1",
            (parent, name),
        )
        return row if row is not None and row[3] is None else None

    def _end(self, row: Row) -> None:
        if row[2] == self.sequence:
            self.sql.execute("DELETE FROM name WHERE id=?", (row[0],))
        else:
            self.sql.execute("UPDATE name SET until=? WHERE id=?", (self.sequence, row[0]))
        self.maybe_gone.append(row[1])

    def _unbind(self, parent: InodeId, name: bytes) -> None:
        row = self._bound(parent, name)
        if row is not None:
            self._end(row)

    def _bind(self, parent: InodeId, name: bytes, inode: InodeId) -> None:
        row = self._bound(parent, name)
        if row is not None:
            if row[1] == inode:
                return
            self._end(row)
        self.sql.execute(
            "INSERT INTO name(parent,name,inode,since) VALUES(?,?,?,?)", (parent, name, inode, self.sequence)
        )

    def _close_gone(self) -> None:
        """With a directory that no name means any more its names are gone (F-36)."""
        while self.maybe_gone:
            inode = self.maybe_gone.pop()
            if self.sql.one("SELECT 1 FROM name WHERE inode=? AND until IS NULL", (inode,)) is not None:
                continue
            row = self.sql.one("SELECT kind FROM record WHERE inode=? LIMIT 1", (inode,))
            if row is None or row[0] != Kind.DIRECTORY:
                continue
            inside = self.sql.rows("SELECT id, inode, since FROM name WHERE parent=? AND until IS NULL", (inode,))
            for below in inside:
                self._end(below)

    # ---- conflicts ----

    def _conflicts(self, commit: Commit) -> None:
        sides = {it.conflict: it for it in commit.sides}
        for place, it in enumerate(commit.conflicts):
            met = sides[place].met if place in sides else 0
            self.sql.execute(
                "INSERT INTO conflict VALUES(?,?,?,?,?,?,?,?,NULL,NULL,NULL)",
                (self.sequence, place, it.kind, it.parent, it.name, it.kept_as, it.detail, met),
            )
        for side in commit.sides:
            self._sides(self.sequence, side.conflict, side)
        self._resolved(commit.resolved)

    def _sides(self, sequence: int, place: int, sides: Sides | Evidence) -> None:
        for name, content in (("base", sides.base), ("earlier", sides.earlier), ("later", sides.later)):
            if content is not None:
                self.sql.execute(
                    "INSERT OR IGNORE INTO side VALUES(?,?,?,?,?,?,?,?)",
                    (sequence, place, name, *to_columns(content)),
                )

    def _resolved(self, resolved: Iterable[ConflictId]) -> None:
        self.sql.executemany(
            "UPDATE conflict SET resolved=? WHERE sequence=? AND place=? AND resolved IS NULL",
            ((self.sequence, it.sequence, it.index) for it in resolved),
        )

    # ---- where the log has a hole ----

    def snapshot(self, snapshot: SnapshotRows, *, first: int) -> None:
        author = self._author("", "")
        self.sql.execute(
            "INSERT INTO entry VALUES(?,?,?,?,?,'')",
            (snapshot.sequence, snapshot.commit_digest, snapshot.time_ns, author, first),
        )
        records = [inode_record(row) for row in snapshot.inodes]
        if first > 1:
            said: dict[InodeId, list[tuple[bytes, bytes]]] = {}
            for inode, name, value in self.sql.rows(
                "SELECT inode, name, value FROM xattr JOIN (SELECT inode, max(sequence) AS sequence FROM record "
                "GROUP BY inode) USING (inode, sequence) ORDER BY 1, 2"
            ):
                said.setdefault(inode, []).append((name, value))
            known = {
                row[0]: row[1:]
                for row in self.sql.rows(
                    f"SELECT inode,kind,mode,uid,gid,mtime_ns,birth_ns,rdev,target,{COLUMNS}, max(sequence) "
                    "FROM record GROUP BY inode"
                )
            }
            records = [
                it
                for it in records
                if known.get(it.id, ())[:-1] != _compared(it) or tuple(said.get(it.id, ())) != it.xattrs
            ]
        self._records(records)
        ours = {
            (row[0], row[1]): (row[2], row[3], row[4])
            for row in self.sql.rows("SELECT parent, name, id, inode, since FROM name WHERE until IS NULL")
        }
        theirs = {(parent, name): child for parent, name, child in snapshot.links}
        for place, row in ours.items():
            if theirs.get(place) != row[1]:
                self._end(row)
        self.sql.executemany(
            "INSERT INTO name(parent,name,inode,since) VALUES(?,?,?,?)",
            (
                (*place, child, self.sequence)
                for place, child in theirs.items()
                if place not in ours or ours[place][1] != child
            ),
        )

    def kept(self, lineages: Iterable[Lineage]) -> None:
        """What packs keep of files' histories up to here."""
        self.sql.executemany(
            "INSERT OR IGNORE INTO kept VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    of.parent, of.name, it.sequence, it.inode, it.time_ns, it.author, it.parent, it.name, it.mode,
                    it.mtime_ns, *to_columns(it.content),
                )
                for of in lineages
                for it in of.states
                if it.sequence <= self.sequence
            ),
        )  # fmt: skip

    def evidence(self, evidence: Iterable[Evidence]) -> None:
        """Conflicts of collected commits that nobody had settled."""
        for it in evidence:
            if it.sequence > self.sequence:
                continue
            self.sql.execute(
                "INSERT OR IGNORE INTO conflict VALUES(?,?,?,?,?,?,?,?,NULL,?,?)",
                (it.sequence, it.place, it.kind, it.parent, it.name, it.kept_as, it.detail, it.met, it.time_ns,
                 it.author),
            )  # fmt: skip
            self._sides(it.sequence, it.place, it)


def _compared(it: InodeRecord) -> Row:
    """A record without what a snapshot may have of its own: its maker's `ctime` (F-53)."""
    return (
        int(it.kind), it.mode, it.uid, it.gid, it.mtime_ns, it.birth_ns, it.rdev, it.target or None,
        *to_columns(it.content),
    )  # fmt: skip
